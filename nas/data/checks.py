"""Turns raw arrays into images and labels that can be trained on, or says what is wrong with them.

Images are (N, C, H, W) uint8, labels (N,) int64 from 0 to K - 1 (N batch, C channels, H W space, K classes).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError

__all__ = ["Images", "Labels", "Layout", "as_images", "as_labels", "check_classes", "check_part"]

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Layout = Literal["NCHW", "NHWC"]

MAX_COLORS = 4  # RGBA: an axis no longer than this, where another is longer, holds the channels


def as_images(x: NDArray[Any], name: str, layout: Layout = "NCHW") -> Images:
    """`x`, laid out as `layout` or (N, H, W), as contiguous (N, C, H, W); `name` stands in messages."""
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise DataError(f"{name} must be {layout} or NHW and not empty, but got shape {x.shape}; reshape it")
    _check_finite(x, name)
    if x.dtype != np.uint8:
        raise DataError(f"{name} must be uint8 from 0 to 255, but got {x.dtype}; scale, round and cast it")
    if x.ndim == 3:
        x = x[:, np.newaxis] if layout == "NCHW" else x[..., np.newaxis]
    channels, other = (1, 3) if layout == "NCHW" else (3, 1)
    if x.shape[other] <= MAX_COLORS < x.shape[channels]:
        raise DataError(f"{name} must be {layout}, but got shape {x.shape}; move axis {other} to {channels}")
    return np.ascontiguousarray(x if layout == "NCHW" else x.transpose(0, 3, 1, 2))


def as_labels(y: NDArray[Any], name: str) -> Labels:
    """`y` as (N,) int64; `name` stands in messages."""
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"{name} must hold one whole number per image, but got {y.dtype} of shape {y.shape}; "
            "give class numbers"
        )
    return y.astype(np.int64)


def check_part(x: Images, y: Labels, part: str, num_classes: int) -> None:
    """Raise DataError unless `x` and `y` have one length and each label is below `num_classes`."""
    if len(x) != len(y):
        raise DataError(
            f"x_{part} and y_{part} must have one length, but got {len(x)} images and {len(y)} labels; "
            "give one label per image"
        )
    wrong = np.flatnonzero((y < 0) | (y >= num_classes))
    if len(wrong):
        raise DataError(
            f"labels in y_{part} must be from 0 to {num_classes - 1}, but {len(wrong)} are not, "
            f"the first being {y[wrong[0]]} at index {wrong[0]}; number the classes from 0"
        )


def check_classes(y: Labels, classes: Sequence[str], minimum: int) -> None:
    """Raise DataError unless two classes or more have names of their own and `minimum` training labels."""
    if len(classes) < 2:
        raise DataError(f"data must have at least 2 classes, but got {tuple(classes)}; add a class")
    seen: set[str] = set()
    for index, name in enumerate(classes):
        if not isinstance(name, str) or name in seen:
            raise DataError(
                f"class names must be different strings, but class {index} is named {name!r}; rename it"
            )
        seen.add(name)
    counts = np.bincount(y, minlength=len(classes))
    scarce = int(counts.argmin())
    if counts[scarce] < minimum:
        raise DataError(
            f"each class must have at least {minimum} training images, but class {scarce} "
            f"({classes[scarce]!r}) has {counts[scarce]}; add images or leave the class out"
        )


def _check_finite(x: NDArray[Any], name: str) -> None:
    if not np.issubdtype(x.dtype, np.floating):
        return
    wrong = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{name} must be finite, but {len(wrong)} images hold NaN or infinity, "
            f"the first being image {wrong[0]}; repair or drop them"
        )
