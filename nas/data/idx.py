"""Reads IDX files, the format of MNIST and Fashion-MNIST: http://yann.lecun.com/exdb/mnist/."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.data.value import Data
from nas.errors import DataError

__all__ = ["load_fashion_mnist", "read_idx"]

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
UINT8_CODE = 8


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """The uint8 array with `ndim` axes in an IDX file, plain or gzipped."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} must be a readable IDX file, but got: {error}; fetch it again") from error
    magic = bytes((0, 0, UINT8_CODE, ndim))
    if content[:4] != magic:
        raise DataError(
            f"{path} must start with the bytes {magic.hex(' ')}, but starts with {content[:4].hex(' ')!r}; "
            f"give an IDX file of uint8 with {ndim} axes"
        )
    start = 4 + 4 * ndim
    shape = struct.unpack(f">{ndim}I", content[4:start]) if len(content) >= start else (0,) * ndim
    if len(content) - start != math.prod(shape) or len(content) < start:
        raise DataError(
            f"{path} must hold {start + math.prod(shape)} bytes for shape {shape}, but holds {len(content)}; "
            "fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def load_fashion_mnist(folder: Path, seed: int) -> Data:
    """Data of the four files of Fashion-MNIST: https://arxiv.org/abs/1708.07747."""
    train, test = (
        (
            read_idx(_find(folder, f"{part}-images-idx3-ubyte"), ndim=3),
            read_idx(_find(folder, f"{part}-labels-idx1-ubyte"), ndim=1),
        )
        for part in ("train", "t10k")
    )
    return Data.from_arrays(train, test, name="fashion-mnist", classes=CLASSES, seed=seed)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(
        f"Fashion-MNIST must have the file {name}.gz, but {folder} has none; "
        "do apt-get install dataset-fashion-mnist or give the folder as fashion-mnist:FOLDER"
    )
