"""A small space with twins, exits and conditional choices, all that can be known of it, and studies of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.bundle import Latency
from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.search import Maximize, Minimize, Study
from nas.search.study import Evaluate
from nas.space import Architecture, Candidate, SearchSpace


def head(x: Feature, classes: int) -> Feature:
    return linear(global_avg_pool(x), classes)


def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
    x = net.input(input_shape)
    depth = net.choice("depth", 1, 2)
    for index in range(depth):
        with net.scope(f"layer{index}"):
            x = conv(x, net.choice("width", 4, 8, 16), kernel_size=net.choice("kernel", 1, 3))
            net.choice("unused", "a", "b")  # makes twins
        if index == 0 and depth == 2 and net.choice("exit", False, True):
            net.exit(head, x, num_classes)
    net.exit(head, x, num_classes)


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(build, "tests:twins")


@pytest.fixture
def enumerated() -> Callable[[SearchSpace], dict[str, Architecture]]:
    """Every network of a space, by id."""
    return lambda space: {architecture.id: architecture for architecture in space.architectures()}


@pytest.fixture
def accuracy() -> Callable[[str], float]:
    """The accuracy of the network with this id: arbitrary, but always the same."""
    return lambda id: int(id[:6], 16) / 16**6


@pytest.fixture
def evaluate(accuracy: Callable[[str], float]) -> Evaluate:
    def evaluate(candidate: Candidate) -> dict[str, float]:
        return {"accuracy": accuracy(candidate.id)}

    return evaluate


@pytest.fixture
def start(evaluate: Evaluate) -> Callable[..., Study]:
    """Starts or continues the study of a space in a folder."""

    def start(space: SearchSpace, folder: Path, **settings: Any) -> Study:
        objectives = (Maximize("accuracy"), Minimize("macs"))
        defaults = {"objectives": objectives, "evaluate": evaluate, "sampler": "random"}
        return Study(space, folder, **(defaults | settings))

    return start


@pytest.fixture
def latency() -> Callable[[float], Latency]:
    """What a measurement with this median gives."""
    return lambda p50_ms: Latency(p50_ms=p50_ms, p95_ms=p50_ms, spread=0.0, runs=1, target="test")
