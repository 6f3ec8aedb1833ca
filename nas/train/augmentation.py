"""Random changes of training images that keep their class."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.errors import StudyError

__all__ = ["AUGMENTATIONS", "augment", "augmentation_for"]

AUGMENTATIONS: Mapping[str, tuple[bool, bool]] = MappingProxyType(
    {"none": (False, False), "shift": (True, False), "shift-flip": (True, True)}
)
"""By name: whether images are shifted, by up to an eighth of their size (a random crop of the padded image),
and whether half of them are mirrored."""

CHARACTERS = frozenset({"digits", "emnist", "kmnist", "mnist", "svhn"})
"""Data, by name, whose mirror images may be of another class or of none."""


def augmentation_for(name: str, data_name: str) -> str:
    """The augmentation that `name` means: `auto` is `shift` for digits and letters, else `shift-flip`."""
    if name != "auto":
        return name
    return "shift" if data_name in CHARACTERS else "shift-flip"


def augment(images: Tensor, name: str, draws: torch.Generator) -> Tensor:
    """Images (N, C, H, W), each changed in its own way; what a shift uncovers is 0."""
    if name not in AUGMENTATIONS:
        raise StudyError(
            f"an augmentation must be one of {', '.join(AUGMENTATIONS)}, but got {name!r}; name one of these"
        )
    shifts, flips = AUGMENTATIONS[name]
    count, _, height, width = images.shape
    if flips:
        mirrored = torch.rand(count, generator=draws) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if shifts:
        most = max(1, min(height, width) // 8)
        windows = F.pad(images, (most,) * 4).unfold(2, height, 1).unfold(3, width, 1)
        rows, columns = torch.randint(2 * most + 1, (2, count), generator=draws)
        images = windows[torch.arange(count), :, rows, columns]
    return images
