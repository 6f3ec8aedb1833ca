"""Map-style datasets: torch's own, in every form torchvision gives images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from nas.data import Data
from nas.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 9), dtype=np.uint8)
LABELS = np.arange(40) % 2


class Transformed(Dataset[tuple[Any, int]]):
    def __init__(self, transform: Callable[[Any], Any], count: int = 40) -> None:
        self.transform, self.count = transform, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(PIXELS[index]), int(LABELS[index])


FORMS: dict[str, Callable[[Any], Any]] = {
    "array, channels first": lambda image: image,
    "array, channels last": lambda image: image.transpose(1, 2, 0),
    "Pillow image": lambda image: Image.fromarray(image.transpose(1, 2, 0)),
    "uint8 tensor": torch.tensor,
    "float tensor as ToTensor makes it": lambda image: torch.tensor(image).to(torch.float32).div(255),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_data(form: str) -> None:
    expected = Data.from_arrays((PIXELS, LABELS), (PIXELS, LABELS), name="noise", classes=("a", "b"))
    dataset = Transformed(FORMS[form])
    made = Data.from_datasets(dataset, dataset, name="noise", classes=("a", "b"))
    assert made.hash == expected.hash


def test_tensor_dataset_of_gray_images() -> None:
    dataset = TensorDataset(torch.tensor(PIXELS[:, 0]), torch.tensor(LABELS))
    made = Data.from_datasets(dataset, dataset, name="gray")
    assert made.hash == Data.from_arrays((PIXELS[:, 0], LABELS), (PIXELS[:, 0], LABELS), name="gray").hash


BAD: dict[str, Callable[[Any], Any]] = {
    "image 0 of the train dataset must be uint8 or from 0 to 1, but reaches from": lambda i: (
        torch.tensor(i) / 64 - 2
    ),
    "x_train must be finite, but 40 images hold NaN": lambda i: torch.full(i.shape, torch.nan),
    "x_train must be uint8 from 0 to 255, but got int64": lambda i: i.astype(np.int64),
    "all images must have one shape, but image 1 of the train dataset": lambda i: i[:, : 4 + i[0, 0, 0] % 5],
}


@pytest.mark.parametrize("message", BAD)
def test_bad_images_are_named(message: str) -> None:
    dataset = Transformed(BAD[message])
    with pytest.raises(DataError, match=message):
        Data.from_datasets(dataset, dataset, name="noise")


@pytest.mark.parametrize("item", [{"image": PIXELS[0], "label": 0}, PIXELS[0], (PIXELS[0], "cat"), None])
def test_items_must_be_pairs(item: Any) -> None:
    with pytest.raises(
        DataError, match=r"must be \(image, class number\), but item 0 of the train dataset is a"
    ):
        Data.from_datasets([item], [item], name="noise")


def test_empty_dataset_is_named() -> None:
    full, empty = Transformed(torch.tensor), Transformed(torch.tensor, count=0)
    with pytest.raises(DataError, match="the test dataset must hold images, but it is empty"):
        Data.from_datasets(full, empty, name="noise")
