"""Data by a short text."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.data import load_data
from nas.errors import DataError, MissingExtraError

COLORS = np.random.default_rng(0).integers(0, 256, (30, 6, 7, 3), dtype=np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)
ARRAYS = {"x_train": COLORS, "y_train": LABELS, "x_test": COLORS[:9], "y_test": LABELS[:9]}


def test_digits_are_all_of_scikit_learns() -> None:
    data, raw = load_data("digits"), load_digits()
    ours = np.concatenate([data.x_train, data.x_val, data.x_test])
    labels = np.concatenate([data.y_train, data.y_val, data.y_test])
    expected = np.rint(raw.data * 255 / 16).astype(np.uint8)
    assert sorted((*i.reshape(-1).tolist(), int(y)) for i, y in zip(ours, labels, strict=True)) == sorted(
        (*i.tolist(), int(y)) for i, y in zip(expected, raw.target, strict=True)
    )
    assert (data.input_shape, data.num_classes, ours.min(), ours.max()) == ((1, 8, 8), 10, 0, 255)


def test_digits_test_part_never_depends_on_the_seed() -> None:
    first, second = load_data("digits", seed=0), load_data("digits", seed=1)
    np.testing.assert_array_equal(first.x_test, second.x_test)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    assert not np.array_equal(first.x_val, second.x_val)
    counts = np.bincount(load_digits().target)
    assert np.bincount(first.y_test).tolist() == [round(0.2 * count) for count in counts]


def test_npz_is_read_channels_last(tmp_path: Path) -> None:
    np.savez(tmp_path / "colors.npz", **ARRAYS, classes=["r", "g", "b"], other=np.zeros(3))
    data = load_data(f"npz:{tmp_path / 'colors.npz'}")
    assert (data.name, data.classes, data.input_shape) == ("colors", ("r", "g", "b"), (3, 6, 7))
    np.testing.assert_array_equal(data.x_test.transpose(0, 2, 3, 1), COLORS[:9])


def test_npz_without_channels_is_gray(tmp_path: Path) -> None:
    gray = {"x_train": COLORS[..., 0], "x_test": COLORS[:9, ..., 0]}
    np.savez_compressed(tmp_path / "gray.npz", **(ARRAYS | gray))
    data = load_data(f"npz:{tmp_path / 'gray.npz'}")
    assert (data.input_shape, data.classes) == ((1, 6, 7), ("0", "1", "2"))
    np.testing.assert_array_equal(data.x_test[:, 0], COLORS[:9, ..., 0])


def test_npz_with_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, **(ARRAYS | {"y_train": np.array([{}] * 30)}))
    with pytest.raises(
        DataError, match="must be a readable npz file of plain arrays, but got: Object arrays"
    ):
        load_data(f"npz:{path}")


def test_damaged_npz_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **ARRAYS)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = (
        whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 50]) + whole[middle + 50 :]
    )
    for damaged in (b"", b"no archive", whole[:-30], whole[:100], flipped):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.npz must be a readable npz file .*; save it again"):
            load_data(f"npz:{path}")
    np.save(path.with_suffix(".npy"), COLORS)
    with pytest.raises(DataError, match=r"x\.npy must be a readable npz file"):
        load_data(f"npz:{path.with_suffix('.npy')}")
    with pytest.raises(DataError, match=r"nothing\.npz must be a readable npz file .*No such file"):
        load_data(f"npz:{tmp_path / 'nothing.npz'}")


def test_npz_without_labels_says_what_is_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=COLORS, y_train=LABELS)
    with pytest.raises(DataError, match="but lacks x_test, y_test"):
        load_data(f"npz:{tmp_path / 'x.npz'}")


def test_npz_with_a_class_name_twice_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **ARRAYS, classes=["a", "b", "a"])
    with pytest.raises(DataError, match="different strings, but class 2 is named 'a'; rename it"):
        load_data(f"npz:{tmp_path / 'x.npz'}")


@pytest.mark.parametrize("spec", ["mnist", "", "npz", "npz:", "folder:", "digits:x", "Digits", ":"])
def test_unknown_data_names_the_choices(spec: str) -> None:
    with pytest.raises(
        DataError, match=r"must be digits, fashion-mnist\[:FOLDER\], npz:FILE or folder:FOLDER"
    ):
        load_data(spec)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"scikit-learn must be installed.*nas-dial\[search\]"):
        load_data("digits")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").touch()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"pillow must be installed.*nas-dial\[search\]"):
        load_data(f"folder:{tmp_path}")
