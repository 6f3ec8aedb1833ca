"""Image folders: classes by sub-folder, one size, gray or RGB."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.data import load_data
from nas.errors import DataError

RNG = np.random.default_rng(0)


def write(folder: Path, count: int = 10, mode: str = "RGB", size: tuple[int, int] = (6, 5)) -> None:
    """`count` images of `size` (width, height) in a new folder."""
    folder.mkdir(parents=True)
    for index in range(count):
        pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{index}.png")


def test_sub_folders_are_classes_and_test_is_cut(tmp_path: Path) -> None:
    for name, count in (("cat", 10), ("ant", 3), ("bee", 20)):
        write(tmp_path / name, count)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    data = load_data(f"folder:{tmp_path}")
    assert (data.name, data.classes, data.input_shape) == (tmp_path.name, ("ant", "bee", "cat"), (3, 5, 6))
    assert [np.bincount(y).tolist() for y in (data.y_train, data.y_val, data.y_test)] == [
        [1, 14, 7],
        [1, 2, 1],
        [1, 4, 2],
    ]
    assert data.hash == load_data(f"folder:{tmp_path}").hash
    assert not np.array_equal(data.x_test, load_data(f"folder:{tmp_path}", seed=1).x_test)


def test_train_and_test_are_used_as_such(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/b"):
        write(tmp_path / name)
    data = load_data(f"folder:{tmp_path}")
    expected = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "test/b").iterdir())]
    np.testing.assert_array_equal(data.x_test.transpose(0, 2, 3, 1), expected)
    assert data.y_test.tolist() == [1] * 10
    assert len(data.x_train) + len(data.x_val) == 20


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("P", 3), ("RGBA", 3)])
def test_one_image_with_color_makes_all_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    write(tmp_path / "a", mode="L")
    write(tmp_path / "b", mode=mode)
    assert load_data(f"folder:{tmp_path}").input_shape == (channels, 5, 6)


def test_damaged_image_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    path = tmp_path / "b" / "3.png"
    whole = path.read_bytes()
    for damaged in (b"", b"no image", whole[:20], whole[:60], whole[:-60]):
        path.write_bytes(damaged)
        with pytest.raises(
            DataError, match=r"b/3\.png must be a readable image, but got: .*; repair or remove it"
        ):
            load_data(f"folder:{tmp_path}")


def test_sizes_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", size=(7, 5))
    with pytest.raises(DataError, match=r"b/0\.png has \(7, 5\) and .*a/0\.png has \(6, 5\)"):
        load_data(f"folder:{tmp_path}")


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", mode="I;16")
    with pytest.raises(DataError, match=r"8 bits per channel, but .*b/0\.png has Pillow mode I;16"):
        load_data(f"folder:{tmp_path}")


def test_layout_of_the_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is none at .*nowhere"):
        load_data(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match=r"one sub-folder per class, but .* has no such images"):
        load_data(f"folder:{tmp_path}")
    write(tmp_path / "train" / "a")
    write(tmp_path / "train" / "b")
    with pytest.raises(DataError, match="with train/ must also hold test/"):
        load_data(f"folder:{tmp_path}")
    write(tmp_path / "test" / "c")
    with pytest.raises(DataError, match="has no train/c"):
        load_data(f"folder:{tmp_path}")


def test_class_without_or_with_too_few_images_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", count=0)
    with pytest.raises(DataError, match=r"at least 3 training images, but class 1 \('b'\) has 0"):
        load_data(f"folder:{tmp_path}")
    write(tmp_path / "c", count=2)
    (tmp_path / "b").rmdir()
    with pytest.raises(DataError, match=r"class 1 \('c'\) has 2"):
        load_data(f"folder:{tmp_path}")
