"""Reads map-style datasets, such as torch's and torchvision's, into arrays without importing torch."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError

__all__ = ["MapDataset", "read_dataset"]


class MapDataset(Protocol):
    """What a map-style torch Dataset offers: a length, and (image, label) at each index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def read_dataset(dataset: MapDataset, part: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (N, C, H, W) and labels (N,) of `dataset`; `part` stands in messages."""
    if len(dataset) == 0:
        raise DataError(f"the {part} dataset must hold images, but it is empty; give a dataset with images")
    images, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        try:
            image, label = item
            labels.append(int(label))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"an item must be (image, class number), but item {index} of the {part} dataset is a "
                f"{type(item).__name__} and fails with: {error}; wrap the dataset"
            ) from error
        images.append(_channels_first(np.asarray(image), f"image {index} of the {part} dataset"))
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"all images must have one shape, but image {index} of the {part} dataset has "
                f"{images[-1].shape} and image 0 has {images[0].shape}; resize them to one"
            )
    return np.stack(images), np.array(labels, dtype=np.int64)


def _channels_first(image: NDArray[Any], name: str) -> NDArray[Any]:
    if image.ndim == 2:
        image = image[np.newaxis]
    elif image.ndim == 3 and image.shape[0] not in (1, 3, 4) and image.shape[2] in (1, 3, 4):
        image = image.transpose(2, 0, 1)
    if not np.issubdtype(image.dtype, np.floating) or not np.isfinite(image).all():
        return image  # the check of the whole part counts these
    if image.size and (image.min() < 0 or image.max() > 1):
        raise DataError(
            f"{name} must be uint8 or from 0 to 1, but reaches from {image.min():g} to {image.max():g}; "
            "leave Normalize out, for the network normalizes itself"
        )
    scaled: NDArray[np.uint8] = np.rint(image * 255).astype(np.uint8)
    return scaled
