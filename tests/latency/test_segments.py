"""The time of an exit is that of the files that run for it, as they ship."""

from collections.abc import Sequence
from random import Random
from typing import final

import numpy as np
import pytest

from nas.bundle import IMAGE
from nas.graph import Graph
from nas.latency import OnnxRuntime, Target, Timing, measure_exit, measure_exits
from nas.latency.segments import exit_models, measure_segment
from nas.latency.target import Inputs
from nas.layers import global_avg_pool, linear, max_pool
from nas.net import Feature, Net
from nas.onnx import onnx_model, random_weights, shipped_segments
from search_spaces.tiny import space


@final
class RunningTarget(Target):
    """A nanosecond for each byte of a file, once all files have run one after another."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.seconds: list[float] = []

    @property
    def identity(self) -> str:
        return "by size"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        self.seconds.append(seconds)
        features = dict(inputs)
        for model in models:
            made = OnnxRuntime().open(model)(features)
            features.update(made)
            self.made += made
            assert all(np.isfinite(array).all() for array in made.values())
        return Timing((1e-9 * np.array([[len(model) for model in models]]),), (), 0.0, self.identity)


@pytest.fixture(scope="module")
def graph() -> Graph:
    rng = Random(0)
    graphs = (space.graph(space.sample(rng)) for _ in range(100))
    return next(graph for graph in graphs if len(graph.exits) > 2)


def sizes(graph: Graph) -> dict[str, int]:
    weights = random_weights(graph)
    return {part.name: len(onnx_model(graph, weights, part)) for part in shipped_segments(graph)}


def test_an_exit_takes_its_head_and_the_trunks_up_to_it(graph: Graph) -> None:
    target, size = RunningTarget(), sizes(graph)
    exits = measure_exits(target, graph, seconds=0.5)
    assert target.seconds == [0.5] * len(exits)  # for each by itself
    assert target.made.count("logits") == len(exits) == len(graph.exits)
    for exit, latency in enumerate(exits):
        expected = size[f"head_{exit}"] + sum(size[f"trunk_{k}"] for k in range(exit + 1))
        assert latency.p50_ms == pytest.approx(1e-6 * expected)
        assert latency.target == "by size"


def test_weights_may_be_given(graph: Graph) -> None:
    weights = random_weights(graph, seed=1)
    assert measure_exits(RunningTarget(), graph, weights) == measure_exits(RunningTarget(), graph)


def test_a_trunk_with_nothing_to_do_is_no_file() -> None:
    def head(x: Feature, pooled: bool) -> Feature:
        return linear(global_avg_pool(max_pool(x) if pooled else x), 3)

    net = Net(lambda name, options: options[0])
    x = max_pool(net.input((1, 8, 8)))
    net.exit(head, x, False)
    net.exit(head, x, True)
    graph = net.graph()
    size = sizes(graph)
    assert list(size) == ["trunk_0", "head_0", "head_1"]
    first, last = measure_exits(RunningTarget(), graph)
    assert first.p50_ms == pytest.approx(1e-6 * (size["trunk_0"] + size["head_0"]))
    assert last.p50_ms == pytest.approx(1e-6 * (size["trunk_0"] + size["head_1"]))


def test_which_files_run() -> None:
    names = ["trunk_0", "head_0", "head_1", "trunk_2", "head_2"]
    assert [exit_models(names, exit) for exit in range(3)] == [[0, 1], [0, 2], [0, 3, 4]]


def test_each_segment_runs_alone(graph: Graph) -> None:
    weights, target = random_weights(graph), RunningTarget()
    for segment in shipped_segments(graph):
        latency = measure_segment(target, graph, segment, weights=weights, seconds=0.1)
        assert latency.p50_ms == pytest.approx(1e-6 * len(onnx_model(graph, weights, segment)))
    assert target.made.count("logits") == len(graph.exits)
    assert IMAGE not in target.made


@pytest.mark.parametrize("exit", [-1, 9])
def test_an_exit_that_is_not_there(graph: Graph, exit: int) -> None:
    with pytest.raises(IndexError, match=rf"exit must be 0 to {len(graph.exits) - 1}, but got {exit}"):
        measure_exit(RunningTarget(), graph, exit)
