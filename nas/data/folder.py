"""Reads a folder of images with one sub-folder per class."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.checks import Images, Labels, check_classes
from nas.data.split import TEST_RATIO, stratified_split
from nas.data.value import Data
from nas.errors import DataError, MissingExtraError

__all__ = ["load_folder"]

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))
GRAY_MODES = frozenset(("1", "L", "LA"))
COLOR_MODES = frozenset(("CMYK", "P", "PA", "RGB", "RGBA", "YCbCr"))
# What Pillow raises for damaged files of one kind or another.
DAMAGE = (EOFError, OSError, SyntaxError, ValueError, struct.error)


def load_folder(folder: Path, seed: int) -> Data:
    """Data of the images below `folder`.

    Sub-folders train/ and test/, with the classes in each, are used as such; otherwise the sub-folders are
    the classes and a stratified fifth, drawn by `seed`, is the test part. All images must have one size; if
    one of them has color, all are read as RGB.
    """
    names = _subfolders(folder)
    if "train" not in names:
        images, labels = _read(_files(folder, names), names)
        check_classes(labels, names, minimum=3)  # one each to train, validate and test
        kept, cut = stratified_split(labels, TEST_RATIO, np.random.default_rng((seed, 2)))
        train, test = (images[kept], labels[kept]), (images[cut], labels[cut])
        return Data.from_arrays(train, test, name=folder.resolve().name, classes=names, seed=seed)
    if "test" not in names:
        raise DataError(f"a folder with train/ must also hold test/, but {folder} does not; add it")
    classes = _subfolders(folder / "train")
    for name in _subfolders(folder / "test"):
        if name not in classes:
            raise DataError(
                f"each class in test/ must be in train/, but {folder} has no train/{name}; add it"
            )
    files = _files(folder / "train", classes)
    count = len(files)
    images, labels = _read(files + _files(folder / "test", classes), classes)
    train, test = (images[:count], labels[:count]), (images[count:], labels[count:])
    return Data.from_arrays(train, test, name=folder.resolve().name, classes=classes, seed=seed)


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"images must be in a folder, but there is none at {folder}; give an existing one")
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))


def _files(folder: Path, classes: Sequence[str]) -> list[Path]:
    """The images of all classes, sorted; a class that `folder` lacks has none."""
    paths = sorted(path for name in classes for path in (folder / name).glob("[!.]*"))
    files = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(
            f"images must be in one sub-folder per class, but {folder} has no such images; add some"
        )
    return files


def _read(files: Sequence[Path], classes: Sequence[str]) -> tuple[Images, Labels]:
    """Images (N, C, H, W) and labels (N,) of `files`, each in the folder of its class."""
    modes, sizes = zip(*(_inspect(path) for path in files), strict=True)
    for path, size in zip(files, sizes, strict=True):
        if size != sizes[0]:
            raise DataError(
                f"all images must have one size, but {path} has {size} and {files[0]} has {sizes[0]} "
                "(width, height); resize them to one"
            )
    mode = "L" if GRAY_MODES.issuperset(modes) else "RGB"
    width, height = sizes[0]
    images = np.empty((len(files), height, width, len(mode)), dtype=np.uint8)
    for image, path in zip(images, files, strict=True):
        image[:] = _decode(path, mode).reshape(image.shape)
    labels = np.array([classes.index(path.parent.name) for path in files], dtype=np.int64)
    return images.transpose(0, 3, 1, 2), labels


def _inspect(path: Path) -> tuple[str, tuple[int, int]]:
    with _open(path) as image:
        if image.mode not in GRAY_MODES | COLOR_MODES:
            raise DataError(
                f"images must have 8 bits per channel, but {path} has Pillow mode {image.mode}; convert it"
            )
        return image.mode, image.size


def _decode(path: Path, mode: str) -> NDArray[np.uint8]:
    with _open(path) as image:
        try:
            return np.asarray(image.convert(mode))
        except DAMAGE as error:
            raise _damaged(path, error) from error


def _open(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError.of("pillow", "search") from error
    try:
        return Image.open(path)
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} must be a readable image, but got: {error}; repair or remove it")
