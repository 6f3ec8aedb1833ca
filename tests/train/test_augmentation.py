"""Augmentation: every image becomes a shifted or mirrored form of itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.errors import StudyError
from nas.train.augmentation import augment, augmentation_for


def images(count: int = 400, size: tuple[int, int] = (8, 9)) -> Tensor:
    return torch.randint(
        1, 256, (count, 2, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def forms(image: Tensor, most: int, flips: bool) -> list[Tensor]:
    """All that may become of an image (C, H, W), by torch's padding and slicing."""
    height, width = image.shape[1:]
    found = []
    for form in [image, image.flip(2)] if flips else [image]:
        padded = F.pad(form, (most,) * 4)
        for row in range(2 * most + 1):
            found += [padded[:, row : row + height, left : left + width] for left in range(2 * most + 1)]
    return found


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [("none", (8, 9), 0), ("shift", (8, 9), 1), ("shift-flip", (8, 9), 1), ("shift", (16, 17), 2)],
)
def test_images_become_forms_of_themselves_and_all_forms_occur(
    name: str, size: tuple[int, int], most: int
) -> None:
    before = images(size=size)
    after = augment(before, name, draws())
    assert after.shape == before.shape and after.dtype == torch.uint8
    seen = set()
    for image, changed in zip(before, after, strict=True):
        matches = [torch.equal(changed, form) for form in forms(image, most, name.endswith("flip"))]
        assert any(matches)
        seen.add(matches.index(True))
    assert len(seen) == len(matches)


def test_the_generator_decides() -> None:
    first, second, other = (augment(images(), "shift-flip", draws(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_characters_are_not_mirrored() -> None:
    assert augmentation_for("auto", "digits") == "shift"
    assert augmentation_for("auto", "fashion-mnist") == "shift-flip"
    assert augmentation_for("shift-flip", "digits") == "shift-flip"


def test_unknown_augmentation() -> None:
    with pytest.raises(StudyError, match="must be one of none, shift, shift-flip, but got 'mixup'"):
        augment(images(), "mixup", draws())
