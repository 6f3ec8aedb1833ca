"""Finds data by a short text: digits, fashion-mnist, npz:FILE or folder:FOLDER."""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.data.folder import load_folder
from nas.data.idx import load_fashion_mnist
from nas.data.split import TEST_RATIO, stratified_split
from nas.data.value import Data
from nas.errors import DataError, MissingExtraError

__all__ = ["load_data"]

DEBIAN_FOLDER = "/usr/share/datasets/fashion-mnist"
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_data(spec: str, seed: int = 0) -> Data:
    """The data that `spec` names, its validation part drawn by `seed`.

    * `digits`: 1797 gray 8×8 digits of scikit-learn; the test part is always the same fifth;
    * `fashion-mnist` where Debian's package puts it, or `fashion-mnist:FOLDER` with its four IDX files;
    * `npz:FILE`: arrays x_train, y_train, x_test, y_test and perhaps classes; images uint8 NHWC or NHW;
    * `folder:FOLDER`: one sub-folder of images per class, or train/ and test/ with such sub-folders.
    """
    kind, _, place = spec.partition(":")
    sources: dict[str, tuple[Callable[[Path, int], Data], str]] = {
        "fashion-mnist": (load_fashion_mnist, place or DEBIAN_FOLDER),
        "npz": (_load_npz, place),
        "folder": (load_folder, place),
    }
    if spec == "digits":
        return _load_digits(seed)
    load, place = sources.get(kind, (None, ""))
    if load is None or not place:
        raise DataError(
            f"data must be digits, fashion-mnist[:FOLDER], npz:FILE or folder:FOLDER, but got {spec!r}; "
            "name one of these"
        )
    return load(Path(place).expanduser(), seed)


def _load_digits(seed: int) -> Data:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError.of("scikit-learn", "search") from error
    raw = load_digits()
    images = np.rint(raw.images * (255 / 16)).astype(np.uint8)  # gray levels 0 to 16
    kept, cut = stratified_split(raw.target, TEST_RATIO, np.random.default_rng(0))
    train, test = (images[kept], raw.target[kept]), (images[cut], raw.target[cut])
    return Data.from_arrays(train, test, name="digits", seed=seed)


def _load_npz(path: Path, seed: int) -> Data:
    arrays = _read_npz(path)
    missing = [key for key in NPZ_KEYS if key not in arrays]
    if missing:
        raise DataError(f"{path} must hold {', '.join(NPZ_KEYS)}, but lacks {', '.join(missing)}; add them")
    classes = tuple(map(str, arrays["classes"].tolist())) if "classes" in arrays else None
    train, test = (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    return Data.from_arrays(train, test, name=path.stem, classes=classes, layout="NHWC", seed=seed)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Without pickle, arrays of Python objects are refused: reading them could run code.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if key in (*NPZ_KEYS, "classes")}
    except (EOFError, OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} must be a readable npz file of plain arrays, but got: {error}; save it again"
        ) from error
