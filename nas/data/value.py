"""The data a network is trained on, validated with and tested on once, as one frozen value."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from nas.data.checks import Images, Labels, Layout, as_images, as_labels, check_classes, check_part
from nas.data.datasets import MapDataset, read_dataset
from nas.data.split import stratified_split
from nas.errors import DataError

__all__ = ["Data"]

VALIDATION_RATIO = 0.1


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """Images (N, C, H, W) uint8 and labels (N,) int64 in three parts; all arrays are read-only.

    `mean` and `std` (C,) are of the training images in raw units, 0 to 255; the std of a channel that never
    changes is 1, so that dividing by it is harmless. `hash` names the content: equal hashes, equal arrays.
    """

    name: str
    x_train: Images = field(repr=False)
    y_train: Labels = field(repr=False)
    x_val: Images = field(repr=False)
    y_val: Labels = field(repr=False)
    x_test: Images = field(repr=False)
    y_test: Labels = field(repr=False)
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in ("train", "val", "test"):
            x = as_images(getattr(self, f"x_{part}"), f"x_{part}")
            y = as_labels(getattr(self, f"y_{part}"), f"y_{part}")
            check_part(x, y, part, self.num_classes)
            for name, array in ((f"x_{part}", x), (f"y_{part}", y)):
                view = array.view()  # the caller's own array stays writable
                view.setflags(write=False)
                object.__setattr__(self, name, view)
        check_classes(self.y_train, self.classes, minimum=1)
        shapes = {part.shape[1:] for part in (self.x_train, self.x_val, self.x_test)}
        if len(shapes) > 1:
            raise DataError(
                f"all images must have one shape, but the parts have {sorted(shapes)}; resize them to one"
            )

    @classmethod
    def from_arrays(
        cls,
        train: tuple[NDArray[Any], NDArray[Any]],
        test: tuple[NDArray[Any], NDArray[Any]],
        *,
        name: str,
        classes: Sequence[str] | None = None,
        layout: Layout = "NCHW",
        seed: int = 0,
    ) -> Self:
        """Data of two pairs (images, labels); a stratified tenth of `train`, drawn by `seed`, validates.

        Without `classes` there are as many as the largest training label says, named by their numbers.
        """
        x, y = as_images(train[0], "x_train", layout), as_labels(train[1], "y_train")
        names = _class_numbers(y) if classes is None else tuple(classes)
        check_part(x, y, "train", len(names))
        check_classes(y, names, minimum=2)  # one to train on, one to validate with
        kept, cut = stratified_split(y, VALIDATION_RATIO, np.random.default_rng((seed, 1)))
        return cls(
            name=name,
            x_train=x[kept],
            y_train=y[kept],
            x_val=x[cut],
            y_val=y[cut],
            x_test=as_images(test[0], "x_test", layout).copy(),
            y_test=as_labels(test[1], "y_test"),
            classes=names,
        )

    @classmethod
    def from_datasets(
        cls,
        train: MapDataset,
        test: MapDataset,
        *,
        name: str,
        classes: Sequence[str] | None = None,
        seed: int = 0,
    ) -> Self:
        """Data of two map-style datasets, such as torchvision's, given without random augmentation.

        An image is uint8 or, as torchvision's ToTensor makes it, float from 0 to 1; its channels stand first
        or last.
        """
        pairs = read_dataset(train, "train"), read_dataset(test, "test")
        return cls.from_arrays(*pairs, name=name, classes=classes, seed=seed)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of every image."""
        return self.x_train.shape[1:]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def mean(self) -> tuple[float, ...]:
        return self._mean_std[0]

    @property
    def std(self) -> tuple[float, ...]:
        return self._mean_std[1]

    @cached_property
    def hash(self) -> str:
        digest = hashlib.sha256(repr(self.classes).encode())
        for array in (getattr(self, f.name) for f in fields(self) if f.name[:2] in ("x_", "y_")):
            digest.update(repr(array.shape).encode())
            digest.update(array)
        return digest.hexdigest()[:16]

    @cached_property
    def _mean_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        levels = np.arange(256)
        counts = np.zeros((self.x_train.shape[1], 256), dtype=np.int64)  # (C, gray levels): exact and small
        for image in self.x_train:
            for channel, plane in enumerate(image):
                counts[channel] += np.bincount(plane.reshape(-1), minlength=256)
        pixels = counts.sum(axis=1)
        mean = counts @ levels / pixels
        std = np.sqrt(np.maximum(counts @ levels**2 / pixels - mean**2, 0))
        std[np.count_nonzero(counts, axis=1) == 1] = 1
        return tuple(mean.tolist()), tuple(std.tolist())


def _class_numbers(y: Labels) -> tuple[str, ...]:
    largest = int(y.max(initial=-1))
    if largest >= len(y):  # some class has no image; do not make a name for each of perhaps billions
        raise DataError(
            f"labels in y_train must number the classes from 0 without a gap, "
            f"but the largest of {len(y)} is {largest}; renumber them"
        )
    return tuple(str(label) for label in range(largest + 1))
