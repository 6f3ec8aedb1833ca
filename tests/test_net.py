"""Networks are written alike with and without memory of blocks, and what cannot be written is refused."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from nas.choices import Answer, Option, answers_from
from nas.errors import SpaceError
from nas.graph import Graph
from nas.layers import (
    activation,
    avg_pool,
    channel_shuffle,
    channel_slice,
    concat,
    conv,
    conv_norm_act,
    global_avg_pool,
    linear,
    max_pool,
)
from nas.net import Feature, Net, block
from nas.ops import Input


def first(name: str, options: Sequence[Option]) -> Option:
    return options[0]


def last(name: str, options: Sequence[Option]) -> Option:
    return options[-1]


def new_net(memory: dict[Any, Any] | None = None, answer: Answer = first) -> tuple[Net, Feature]:
    net = Net(answer, memory)
    return net, net.input((3, 9, 9))


@block
def head(x: Feature, num_classes: int = 4) -> Feature:
    return linear(global_avg_pool(x), num_classes)


@block
def residual(x: Feature, *, depth: int = 1, name: str = "residual") -> Feature:
    for _ in range(depth):
        x = x + conv_norm_act(x, x.channels, kernel_size=3)
    return x


@block
def halves(x: Feature) -> tuple[Feature, Feature]:
    return channel_slice(x, 0, 1), channel_slice(x, 1, x.channels)


@block
def joined(features: tuple[Feature, ...], last: Feature, *, width: int) -> Feature:
    return conv(concat(*features, last), width)


@block
def asking(x: Feature) -> Feature:
    return conv_norm_act(x, x.net.choice("width", 4, 6, 8))


@block
def passing(x: Feature, y: Feature) -> tuple[Feature, Feature]:
    return residual(y), x


def write(memory: dict[Any, Any], answer: Answer = first) -> Graph:
    """A net that calls each block above several times, some with other settings, places or features."""
    net, x = new_net(memory, answer)
    for _ in range(3):
        x = residual(x)
    x = residual(residual(x, depth=2), name="deep")
    net.exit(head, x)
    for side in ("left", "right"):
        with net.scope(side):
            a, b = halves(x)
            x = joined((a, b), x, width=3)
            x = asking(x)
            x, y = passing(x, conv(x, 3))
            x = joined((x,), y, width=3)
            net.exit(head, x, name="head")
    net.exit(head, joined((x, x), x, width=5))
    return net.graph()


@pytest.mark.parametrize("answer", [first, last])
def test_memory_changes_nothing(answer: Answer) -> None:
    memory: dict[Any, Any] = {}
    written = [write(memory, answer) for _ in range(3)]
    assert memory
    assert write({}, answer) == written[0] == written[1] == written[2]
    names = [node.name for node in written[0].nodes]
    assert "residual_2.conv_norm_act.conv" in names and "right.head.head.linear" in names


def test_choices_asked_in_a_block_are_asked_every_time() -> None:
    memory: dict[Any, Any] = {}
    narrow, wide = write(memory, first), write(memory, last)
    assert narrow.id != wide.id == write({}, last).id
    net, x = new_net(memory, last)
    asking(x)
    assert net.choices == {"asking.width": 8}


def test_a_captured_feature_does_not_move_along() -> None:
    memory: dict[Any, Any] = {}
    captured: list[Feature] = []

    @block
    def adding(x: Feature) -> Feature:
        return x + captured[0]

    def built(memory: dict[Any, Any], place: int) -> Graph:
        net, x = new_net(memory)
        features = [conv(x, 3, name=f"conv{position}") for position in range(3)]
        captured[:] = [features[place]]
        net.exit(head, adding(features[2]))
        return net.graph()

    assert [built(memory, place) for place in (0, 1, 0)] == [built({}, place) for place in (0, 1, 0)]
    assert built(memory, 0).nodes[2].inputs == (1,)


def test_settings_of_equal_value_in_other_places_are_other_calls() -> None:
    @block
    def placed(x: Feature, a: object, y: Feature, b: object = None) -> Feature:
        return conv(x if a else y, 3) if b is None else conv(y, 3)

    def built(memory: dict[Any, Any], *, first: bool) -> Graph:
        net, x = new_net(memory)
        y = conv(x, 3, name="y")
        net.exit(head, placed(x, 1, y) if first else placed(y, 1, x))
        return net.graph()

    memory: dict[Any, Any] = {}
    assert built(memory, first=True).id != built(memory, first=False).id
    assert built(memory, first=False) == built({}, first=False)


def test_names_are_the_same_whether_a_block_ran_or_was_remembered() -> None:
    def built(memory: dict[Any, Any]) -> list[str]:
        net, x = new_net(memory)
        for _ in range(2):
            x = residual(x)
        with net.scope("residual_2"):
            x = residual(conv(x, 3))
        net.exit(head, x)
        return [node.name for node in net.graph().nodes]

    memory: dict[Any, Any] = {}
    assert built(memory) == built(memory) == built({})


@pytest.mark.parametrize("times", [1, 2])
def test_layers_named_alike_are_refused_whether_remembered_or_not(times: int) -> None:
    memory: dict[Any, Any] = {}
    for _ in range(times):
        net, x = new_net(memory)
        x = conv_norm_act(x, 3, name="stem")
        with net.scope("stem"):
            x = conv(x, 3)
        net.exit(head, x)
    with pytest.raises(SpaceError, match=r"different names, but 'stem\.conv' stands twice"):
        _ = net.graph().nodes


def test_layers_take_numbers_within_a_scope() -> None:
    net, x = new_net()
    with net.scope("a"):
        x = conv(conv(x, 3), 3)
    with net.scope("a"):
        x = conv(x, 3)
    net.exit(head, x)
    assert [node.name for node in net.graph().nodes][2:5] == ["a.conv", "a.conv_1", "a.conv_2"]


def test_symbols_of_features() -> None:
    _, x = new_net()
    y = (x + x) * global_avg_pool(x)
    assert (repr(y), y.channels, y.shape) == ("Feature(3, 9, 9)", 3, (3, 9, 9))
    assert concat(x) is x and channel_shuffle(x, 1) is x


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_windows_keep_the_ceiling_of_size_by_stride(stride: int) -> None:
    for size, kernel_size in product(range(1, 12), (1, 3, 5, 7)):
        x = Net(first).input((3, size, size + 3))
        expected = (3, math.ceil(size / stride), math.ceil((size + 3) / stride))
        assert conv(x, 3, kernel_size=kernel_size, stride=stride).shape == expected
        assert max_pool(x, kernel_size=kernel_size, stride=stride).shape == expected
        assert avg_pool(x, kernel_size=kernel_size, stride=stride).shape == expected


def test_choices_have_the_type_of_their_options() -> None:
    net, _ = new_net(answer=answers_from({"width": 8.0, "on": 1}))
    width, on = net.choice("width", 4, 8), net.choice("on", False, True)
    assert (type(width), width, on) == (int, 8, True) and isinstance(on, bool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "a choice must have options, but 'width' has none"),
        ((8, 8), r"options must differ, but choice 'width' has \(8, 8\)"),
        (((3, 3), (5, 5)), r"strings, numbers, booleans or None, but choice 'width' has \(\(3, 3\)"),
        (([8, 16],), r"strings, numbers, booleans or None, but choice 'width' has \(\[8, 16\]"),
    ],
)
def test_options_that_cannot_be(options: tuple[Any, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        new_net()[0].choice("width", *options)


def test_answers_that_are_no_option() -> None:
    with pytest.raises(SpaceError, match=r"choice 'width' must be one of \(4, 8\), but got 5"):
        new_net(answer=answers_from({"width": 5}))[0].choice("width", 4, 8)
    with pytest.raises(SpaceError, match=r"'width' must be given, but it is missing; options are \(4, 8\)"):
        new_net(answer=answers_from({}))[0].choice("width", 4, 8)


def test_a_choice_is_asked_once() -> None:
    net, _ = new_net()
    net.choice("width", 4, 8)
    with net.scope("stage1"):
        net.choice("width", 4, 8)
    with pytest.raises(SpaceError, match="'width' is asked twice; open a scope around each"):
        net.choice("width", 4, 8)
    assert list(net.choices) == ["width", "stage1.width"]


def test_nets_that_cannot_be() -> None:
    net, x = new_net()
    with pytest.raises(SpaceError, match=r"one input, but net\.input was called twice"):
        net.input((3, 8, 8))
    with pytest.raises(SpaceError, match="at least one exit, but it has none"):
        net.graph()
    with pytest.raises(SpaceError, match=r"a head must .* logits \(K,\), but it gives Feature\(3, 9, 9\)"):
        net.exit(residual, x)
    with pytest.raises(SpaceError, match="a head must write layers"):
        logits = global_avg_pool(x)
        net.exit(lambda x: logits, x)
    with pytest.raises(SpaceError, match=r"a head must .* but it gives None"):
        net.exit(lambda x: None, x)
    net.exit(head, x, 4)
    with pytest.raises(SpaceError, match=r"equally many classes, but got \(4,\) and \(5,\)"):
        net.exit(lambda x: head(x, 5), x)


@pytest.mark.parametrize("times", [0, 1])
def test_features_of_two_nets(times: int) -> None:
    memory: dict[Any, Any] = {}
    for _ in range(times):  # remembered from a lawful call
        _, x = new_net(memory)
        joined((x,), x, width=2)
    (net, x), (_, stranger) = new_net(memory), new_net()
    for reads in ((x, stranger), (stranger, x)):
        with pytest.raises(SpaceError, match="features must belong to one net"):
            joined((reads[0],), reads[1], width=2)
        with pytest.raises(SpaceError, match="features must belong to one net, but 'add' reads"):
            _ = reads[0] + reads[1]
    with pytest.raises(SpaceError, match="a head must write layers"):
        net.exit(head, stranger)


def test_blocks_that_cannot_be_called() -> None:
    _, x = new_net()
    with pytest.raises(
        SpaceError, match=r"settings must be hashable, but 'joined' got .*\[2\].*; use tuples"
    ):
        joined((x,), x, width=[2])
    with pytest.raises(SpaceError, match="must be given a feature as positional argument, but got none"):
        residual(x=x)
    with pytest.raises(SpaceError, match=r"odd where padding is not given, but got \(2, 2\); give padding"):
        conv(x, 3, kernel_size=2)
    with pytest.raises(SpaceError, match="must not vanish"):
        max_pool(x, kernel_size=10, padding=0)
    with pytest.raises(SpaceError, match=r"one of .*, but got 'gelu'"):
        activation(x, "gelu")


def test_an_image_has_three_sizes() -> None:
    with pytest.raises(SpaceError, match=r"\(C, H, W\), but got \(28, 28\)"):
        Net(first).input((28, 28))
    assert Input((1, 28, 28)).out_shape() == (1, 28, 28)
