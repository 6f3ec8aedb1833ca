"""The table measures every kind of layer once, keeps it, and ranks networks as measuring them does."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest

from nas.errors import TargetError
from nas.graph import Graph
from nas.latency import LatencyTable, LocalTarget, Target, Timing, measure_exits
from nas.latency.target import Inputs
from nas.layers import conv_norm_act, dropout, global_avg_pool, linear, max_pool
from nas.net import Feature, Net, block
from nas.op import Shape
from nas.space import SearchSpace


@final
class CountingTarget(Target):
    """One millisecond per run and one per node of the file, so that sums can be checked by counting."""

    def __init__(self, identity: str = "counting") -> None:
        self._identity = identity
        self.measured: list[list[str]] = []

    @property
    def identity(self) -> str:
        return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        import onnx

        times_s = []
        for model in models:
            ops = [node.op_type for node in onnx.load_from_string(model).graph.node]
            self.measured.append(ops)
            times_s.append(1e-3 * (1 + len([op for op in ops if op != "Identity"])))
        return Timing((np.array([times_s, times_s]),) * 4, (), 0.0, self.identity)


@block
def head(x: Feature, num_classes: int) -> Feature:
    return linear(dropout(global_avg_pool(x)), num_classes)


def build(net: Net, input_shape: Shape = (3, 16, 16), num_classes: int = 10) -> None:
    x = conv_norm_act(net.input(input_shape), 8, kernel_size=3, stride=2, act="relu6", name="stem")
    net.exit(head, x, num_classes)
    for stage in range(3):
        with net.scope(f"stage{stage}"):
            width = net.choice("width", 8, 16, 32, 64)
            for _ in range(net.choice("depth", 1, 2, 4, 8)):
                y = conv_norm_act(x, 2 * width, act="relu")
                y = conv_norm_act(y, 2 * width, kernel_size=3, groups=2 * width, act="relu")
                y = conv_norm_act(y, width, act=None)
                x = x + y if x.channels == width else y
            x = max_pool(x) if stage == 1 else x
    net.exit(head, x, num_classes)


space = SearchSpace(build)


def graph(width: int = 8, depth: int = 2) -> Graph:
    choices = {
        f"stage{stage}.{name}": value
        for stage in range(3)
        for name, value in (("width", width), ("depth", depth))
    }
    return space.graph(space.architecture(choices))


def test_exits_are_sums_of_the_segments_that_run() -> None:
    target = CountingTarget()
    first, last = measure_exits(target, graph())
    assert len(target.measured) == 5  # the first trunk for both
    trunk_0, head_0, again, trunk_1, head_1 = (1.0 + len(ops) for ops in target.measured)
    assert again == trunk_0
    assert first.p50_ms == pytest.approx(trunk_0 + head_0)
    assert last.p50_ms == pytest.approx(trunk_0 + trunk_1 + head_1)
    assert last.p95_ms == pytest.approx(last.p50_ms)
    assert (last.runs, last.spread, last.target) == (8, 0, "counting")


def test_a_sum_counts_fused_layers_once_and_calls_per_segment() -> None:
    target = CountingTarget()
    table = LatencyTable(target)
    # image: Cast, Mul, Add; stem: Conv, Clip; head: GlobalAveragePool, Flatten, Gemm; its read-out: Mul,
    # Softmax, ReduceMax; two calls
    assert table(graph(), exit=0) == 3 + 2 + 3 + 3 + 2
    assert all("BatchNormalization" not in ops for ops in target.measured)
    last = measure_exits(CountingTarget(), graph())[1]
    assert table(graph()) == table(graph(), exit=1) == last.p50_ms  # nodes and calls add up alike


def test_a_layer_is_measured_once() -> None:
    target = CountingTarget()
    table = LatencyTable(target)
    table(graph(depth=2))
    measured = len(target.measured)
    table(graph(depth=8))
    assert len(target.measured) == measured
    table(graph(depth=8, width=16))
    assert len(target.measured) > measured


def test_a_candidate_is_as_good_as_its_graph() -> None:
    table = LatencyTable(CountingTarget())
    candidate = space.candidate(lambda name, options: options[1])
    assert table(candidate) == table(candidate.graph)


def test_the_file_saves_measuring_again(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    expected = LatencyTable(CountingTarget(), path)(graph())
    target = CountingTarget()
    assert LatencyTable(target, path)(graph()) == expected
    assert target.measured == []
    assert [file.name for file in path.parent.iterdir()] == ["table.json"]


def test_the_file_waits_for_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "run" / "table.json"
    first = CountingTarget()
    table = LatencyTable(first, path)
    expected, measured = table(graph()), len(first.measured)
    assert list(tmp_path.iterdir()) == []
    path.parent.mkdir()
    assert table(graph()) == expected
    assert len(first.measured) == measured
    second = CountingTarget()
    assert LatencyTable(second, path)(graph()) == expected
    assert second.measured == []


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")  # as long as a name may be, so that a file beside it cannot be
    table = LatencyTable(CountingTarget(), path)
    with pytest.raises(TargetError, match=r"\.json must be writable, but is not: .*; name another"):
        table(graph())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="must be a complete latency table, but is not"):
        LatencyTable(CountingTarget(), tmp_path)


def test_two_writers_keep_each_others_entries(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    one, two = LatencyTable(CountingTarget(), path), LatencyTable(CountingTarget(), path)
    one(graph(width=8))
    two(graph(width=16))
    target = CountingTarget()
    later = LatencyTable(target, path)
    later(graph(width=8))
    later(graph(width=16))
    assert target.measured == []


def test_a_table_of_another_target_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    LatencyTable(CountingTarget("phone"), path)(graph())
    with pytest.raises(TargetError, match=r"'laptop'.*'phone'"):
        LatencyTable(CountingTarget("laptop"), path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 3', '"version": 1'),
        ('"entries_ms"', '"entries"'),
        ('"call": 1.0', '"call": NaN'),
        ('"call": 1.0', '"call": -1'),
        ('"call": 1.0', '"call": "fast"'),
        ("}", ""),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "table.json"
    LatencyTable(CountingTarget(), path)(graph())
    text = path.read_text()
    assert json.loads(text)["entries_ms"]["call"] == 1.0
    path.write_text(text.replace(old, new))
    with pytest.raises(TargetError, match=r"table\.json must"):
        LatencyTable(CountingTarget(), path)


@pytest.mark.parametrize("exit", [-1, 2])
def test_an_exit_that_is_not_there(exit: int) -> None:
    with pytest.raises(IndexError, match=f"0 to 1, but got {exit}"):
        LatencyTable(CountingTarget())(graph(), exit)


@pytest.mark.slow
def test_sums_rank_networks_as_measuring_does() -> None:
    from scipy.stats import spearmanr

    target = LocalTarget()
    table = LatencyTable(target, seconds=0.06)
    graphs = [space.graph(space.sample(Random(seed))) for seed in range(24)]
    summed = [table(graph) for graph in graphs]
    measured = [measure_exits(target, graph)[-1].p50_ms for graph in graphs]
    assert spearmanr(summed, measured).statistic >= 0.8
