"""Fashion-MNIST's IDX files, written here by the format's description, plain and gzipped."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.data import load_data
from nas.data.idx import read_idx
from nas.data.sources import DEBIAN_FOLDER
from nas.errors import DataError

RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": (np.arange(40) % 10).astype(np.uint8),
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, (10, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": np.arange(10).astype(np.uint8),
}
IMAGES = "train-images-idx3-ubyte"


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in ARRAYS.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    return tmp_path


def test_files_are_read_as_written(folder: Path) -> None:
    data = load_data(f"fashion-mnist:{folder}")
    assert (data.name, data.input_shape, data.num_classes) == ("fashion-mnist", (1, 28, 28), 10)
    np.testing.assert_array_equal(data.x_test[:, 0], ARRAYS["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(data.y_test, ARRAYS["t10k-labels-idx1-ubyte"])
    assert len(data.x_train) + len(data.x_val) == 40


def test_plain_files_equal_gzipped(folder: Path) -> None:
    expected = load_data(f"fashion-mnist:{folder}").hash
    for name, array in ARRAYS.items():
        (folder / f"{name}.gz").unlink()
        (folder / name).write_bytes(idx_bytes(array))
    assert load_data(f"fashion-mnist:{folder}").hash == expected


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "must hold 31376 bytes for shape \\(40, 28, 28\\), but holds 31375": lambda raw: gzip.compress(raw[:-1]),
    "must hold 31376 bytes for shape \\(40, 28, 28\\), but holds 31377": lambda raw: gzip.compress(
        raw + b"\0"
    ),
    "must hold 16 bytes for shape \\(0, 0, 0\\), but holds 9": lambda raw: gzip.compress(raw[:9]),
    "must start with the bytes 00 00 08 03, but starts with '00 00 0d 03'": lambda raw: gzip.compress(
        raw[:2] + b"\x0d" + raw[3:]
    ),
    "must start with the bytes 00 00 08 03, but starts with ''": lambda raw: gzip.compress(b""),
    "must be a readable IDX file, but got: Compressed file ended": lambda raw: gzip.compress(raw)[:-200],
    "must be a readable IDX file, but got: Not a gzipped file": lambda raw: raw,
    "must be a readable IDX file, but got: CRC check failed": lambda raw: gzip.compress(raw)[:-8] + b"\0" * 8,
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_file_is_named(folder: Path, message: str) -> None:
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(DAMAGE[message](idx_bytes(ARRAYS[IMAGES])))
    with pytest.raises(DataError, match=message) as caught:
        load_data(f"fashion-mnist:{folder}")
    assert str(path) in str(caught.value)


def test_labels_are_no_images(folder: Path) -> None:
    with pytest.raises(DataError, match="must start with the bytes 00 00 08 03"):
        read_idx(folder / "train-labels-idx1-ubyte.gz", ndim=3)


def test_missing_file_says_what_to_install(folder: Path) -> None:
    (folder / f"{IMAGES}.gz").unlink()
    with pytest.raises(DataError, match=f"{IMAGES}.*apt-get install dataset-fashion-mnist"):
        load_data(f"fashion-mnist:{folder}")


@pytest.mark.skipif(not Path(DEBIAN_FOLDER).is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debian_package_is_fashion_mnist() -> None:
    data = load_data("fashion-mnist")
    assert (len(data.x_train), len(data.x_val), len(data.x_test)) == (54_000, 6_000, 10_000)
    assert np.bincount(data.y_test).tolist() == [1_000] * 10
    # Over all 60,000 training images the mean is known to be 0.2860 and the std 0.3530, of white.
    assert data.mean[0] / 255 == pytest.approx(0.2860, abs=2e-3)
    assert data.std[0] / 255 == pytest.approx(0.3530, abs=2e-3)
