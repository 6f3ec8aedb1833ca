"""Data: parts, statistics and identity of images held in arrays."""

from typing import Any

import numpy as np
import pytest

from nas.data import Data
from nas.errors import DataError, NasError

RNG_SEED = 7


def arrays(count: int = 60, shape: tuple[int, ...] = (3, 5, 6), classes: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(RNG_SEED + count)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % classes


def data(**changes: Any) -> Data:
    return Data.from_arrays(**({"train": arrays(), "test": arrays(20), "name": "noise"} | changes))


def test_validation_is_cut_from_training_and_nothing_is_lost() -> None:
    (x, y), made = arrays(), data()
    together = np.concatenate([made.x_train, made.x_val])
    labels = np.concatenate([made.y_train, made.y_val])
    assert sorted(zip((i.tobytes() for i in x), y, strict=True)) == sorted(
        zip((i.tobytes() for i in together), labels, strict=True)
    )
    np.testing.assert_array_equal(made.x_test, arrays(20)[0])
    np.testing.assert_array_equal(made.y_test, arrays(20)[1])


@pytest.mark.parametrize("sizes", [(2, 2), (2, 30, 200)])
def test_every_class_trains_and_validates(sizes: tuple[int, ...]) -> None:
    y = np.repeat(np.arange(len(sizes)), sizes)
    x = np.zeros((len(y), 4, 4), dtype=np.uint8)
    made = data(train=(x, y), test=(x, y))
    expected = [max(1, round(size / 10)) for size in sizes]
    assert np.bincount(made.y_val).tolist() == expected
    assert (np.bincount(made.y_train) == np.array(sizes) - expected).all()


def test_seed_draws_the_validation_part_only() -> None:
    first, again, other = data(seed=0), data(seed=0), data(seed=1)
    assert first.hash == again.hash != other.hash
    assert not np.array_equal(first.x_val, other.x_val)
    np.testing.assert_array_equal(first.x_test, other.x_test)


def test_statistics_equal_numpy() -> None:
    made = data()
    np.testing.assert_allclose(made.mean, made.x_train.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(made.std, made.x_train.std(axis=(0, 2, 3)))


def test_std_of_a_constant_channel_is_one() -> None:
    x, y = arrays()
    x[:, 1] = 9
    made = data(train=(x, y))
    assert made.mean[1] == 9
    assert made.std[1] == 1
    assert made.std[0] > 1


def test_shapes_and_classes() -> None:
    made = data()
    assert (made.input_shape, made.num_classes, made.classes) == ((3, 5, 6), 4, ("0", "1", "2", "3"))
    assert made.x_train.dtype == np.uint8
    assert made.y_train.dtype == np.int64
    assert all(x.flags.c_contiguous for x in (made.x_train, made.x_val, made.x_test))


def test_layouts_agree() -> None:
    (x, y), (x_test, y_test) = arrays(), arrays(20)
    last = data(
        train=(x.transpose(0, 2, 3, 1), y), test=(x_test.transpose(0, 2, 3, 1), y_test), layout="NHWC"
    )
    assert last.hash == data().hash
    gray = x[:, 0], y
    assert data(train=gray, test=gray, layout="NHWC").hash == data(train=gray, test=gray).hash


def test_arrays_are_read_only_and_the_callers_stay_writable() -> None:
    train, test = arrays(), arrays(20)
    made = data(train=train, test=test)
    before = made.hash
    for array in (made.x_train, made.y_train, made.x_val, made.y_val, made.x_test, made.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    train[0][:] = 0
    test[0][:] = 0
    assert data(train=arrays(), test=arrays(20)).hash == before
    assert made.x_test.any()


def test_hash_sees_every_pixel_label_and_class() -> None:
    (x, y), made = arrays(20), data()
    x[3, 0, 0, 0] ^= 1
    names = ("a", "b", "c", "d")
    hashes = {
        made.hash,
        data(test=(x, y)).hash,
        data(classes=names).hash,
        data(test=(arrays(20)[0], 3 - y)).hash,
    }
    assert len(hashes) == 4


def test_repr_does_not_print_arrays() -> None:
    assert repr(data()) == "Data(name='noise', classes=('0', '1', '2', '3'))"


def nan_images() -> tuple[Any, Any]:
    x, y = arrays()
    x = x / 255
    x[[7, 30], 0, 0, 0] = np.nan
    return x, y


X, Y = arrays()
BAD = {
    "x_train must be finite, but 2 images hold NaN or infinity, the first being image 7": {
        "train": nan_images()
    },
    "x_train must be uint8 from 0 to 255, but got float64": {"train": (X / 255, Y)},
    "x_test must be uint8 from 0 to 255, but got int32": {"test": (X.astype(np.int32), Y)},
    "x_train must be NCHW or NHW and not empty, but got shape \\(60,\\)": {"train": (X[:, 0, 0, 0], Y)},
    "x_test must be NCHW or NHW and not empty, but got shape \\(0, 3": {"test": (X[:0], Y[:0])},
    "x_train must be NCHW, but got shape \\(60, 5, 6, 3\\); move axis 3 to 1": {
        "train": (X.transpose(0, 2, 3, 1), Y)
    },
    "x_train must be NHWC, but got shape \\(60, 3, 5, 6\\); move axis 1 to 3": {"layout": "NHWC"},
    "y_train must hold one whole number per image, but got float64": {"train": (X, Y / 1)},
    "y_test must hold one whole number per image, but got int64 of shape \\(60, 4\\)": {
        "test": (X, np.eye(4, dtype=int)[Y])
    },
    "x_train and y_train must have one length, but got 60 images and 59 labels": {"train": (X, Y[1:])},
    "labels in y_train must be from 0 to 2, but 15 are not, the first being 3 at index 3": {"classes": "abc"},
    "labels in y_test must be from 0 to 3, but 60 are not, the first being 4 at index 0": {
        "test": (X, Y + 4)
    },
    "labels in y_train must be from 0 to 1, but 30 are not, the first being -2 at index 0": {
        "train": (X, Y - 2)
    },
    "must number the classes from 0 without a gap, but the largest of 60 is 4": {
        "train": (X, Y * 1_500_000_000)
    },
    "each class must have at least 2 training images, but class 3 \\('d'\\) has 0": {
        "classes": "abcd",
        "train": (X, Y % 3),
    },
    "each class must have at least 2 training images, but class 1 \\('1'\\) has 1": {
        "train": (X[:4], Y[:4] // 3)
    },
    "data must have at least 2 classes, but got \\('0',\\)": {"train": (X, Y * 0)},
    "class names must be different strings, but class 2 is named 'a'; rename it": {"classes": "abad"},
    "class names must be different strings, but class 1 is named 3; rename it": {
        "classes": ("a", 3, "b", "c")
    },
    "all images must have one shape, but the parts have": {"test": (X[:, :, :4], Y)},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_answered_by_rule_value_and_remedy(message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        data(**BAD[message])
    assert "; " in str(caught.value)
    assert isinstance(caught.value, ValueError | NasError)
