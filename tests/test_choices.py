"""Holds that all architectures of a space are found, each once, and that what is known is not built again."""

import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from random import Random
from typing import Any

import pytest

from nas.choices import Answer, AnswerTree
from nas.errors import SpaceError
from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def test_all_architectures_of_a_space() -> None:
    def build(net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
        x = conv(net.input(input_shape), net.choice("width", 4, 8))
        if net.choice("wider", False, True):
            x = conv(x, 16, kernel_size=net.choice("kernel_size", 1, 3, 5))
        net.exit(head, x, num_classes=num_classes)

    small = SearchSpace(build, "user:small")
    found = [dict(architecture.choices) for architecture in small.architectures()]
    narrow = [{"width": width, "wider": False} for width in (4, 8)]
    wider = [
        {"width": width, "wider": True, "kernel_size": kernel} for width in (4, 8) for kernel in (1, 3, 5)
    ]
    assert sorted(found, key=repr) == sorted(narrow + wider, key=repr)


def test_what_is_known_is_not_built_again() -> None:
    built = []

    def build(net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
        x = conv(net.input(input_shape), net.choice("width", 4, 8))
        if net.choice("wider", False, True):
            x = conv(x, 16, kernel_size=net.choice("kernel_size", 1, 3, 5))
        net.exit(head, x, num_classes=num_classes)
        built.append(dict(net.choices))

    small, asked = SearchSpace(build, "user:small"), list[str]()
    first = {architecture.choices: architecture for architecture in small.architectures()}
    assert len(built) == len(first) == 8
    for choices, architecture in first.items():

        def answer(name: str, options: object, known: dict[str, Any] = dict(choices)) -> Any:  # noqa: B006
            asked.append(name)
            return known[name]

        asked.clear()
        assert small.resolve(answer) is architecture
        assert asked == [name for name, _ in choices]
    assert len(built) == 8
    assert small.at((1, 8, 8), 3).sample(Random(0)).input_shape == (1, 8, 8)
    assert len(built) == 9, "another shape is another space"


def test_answers_of_another_kind_are_told_apart() -> None:
    def build(net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
        net.exit(head, conv(net.input(input_shape), net.choice("width", 1, 8)), num_classes=num_classes)

    space, asked = SearchSpace(build, "user:widths"), list[int]()

    def answering(*answers: Any) -> Answer:
        left = iter(answers)

        def answer(name: str, options: object) -> Any:
            asked.append(1)
            return next(left)

        return answer

    for answer in (1, 1.0, True, 1, 1.0):  # a file may say 1.0
        assert space.resolve(answering(answer)).choices == (("width", 1),)
    assert len(asked) == 5, "each is asked once"
    for wrong in (2, "1", [1], None):
        for _ in range(2):
            with pytest.raises(SpaceError, match="choice 'width' must be one of"):
                space.resolve(answering(wrong))


class Slow(str):
    """An option during whose look-up other threads go on."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(1e-4)
        return super().__hash__()


def test_threads_share_what_is_known() -> None:
    tree = AnswerTree[tuple[str, ...]]()
    options = [Slow(letter) for letter in "abcdefgh"]

    def look(seed: int) -> None:
        rng = Random(seed)
        for _ in range(20):
            wanted = (rng.choice(options), rng.choice(options))

            def build(answer: Answer, wanted: tuple[str, ...] = wanted) -> tuple[str, ...]:
                return tuple(str(answer(f"choice {number}", options)) for number in range(2))

            left = iter(wanted)
            assert tree.resolve(lambda name, options, left=left: next(left), build) == wanted  # type: ignore[misc]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(look, range(8)))
    assert deepcopy(tree).resolve(lambda name, options: options[0], lambda answer: ("new",)) == ("new",)
