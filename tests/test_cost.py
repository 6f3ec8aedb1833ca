"""Costs equal fvcore's and thop's, add up over segments; peaks equal those found by hand and by force."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import final

import pytest
import thop
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.choices import Option
from nas.cost import Cost, total_ops
from nas.graph import Graph
from nas.layers import activation, batch_norm, concat, conv, conv_norm_act, global_avg_pool, linear, max_pool
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Op, Shape
from nas.space import SearchSpace, load_space

SPACES = ("anytime", "lowrank", "mixed", "mobile", "msdnet", "shuffle", "squeeze", "tiny", "xception")


def space_of(name: str) -> SearchSpace:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace)
    return space


def samples(count: int, shape: Shape = (3, 32, 32)) -> list[Graph]:
    """Random networks, the spaces in turn."""
    rng = Random(0)
    spaces = [space_of(name).at(shape, 10) for name in SPACES]
    return [
        spaces[n % len(spaces)].candidate(lambda _, options: rng.choice(options)).graph for n in range(count)
    ]


GRAPHS = samples(48)
MULTIPLYING = ("conv", "linear", "addmm", "matmul")


def fvcore_counts(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Multiply-accumulates of convolutions and linear layers, and the total."""
    analysis = FlopCountAnalysis(model.eval(), x)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return sum(analysis.by_operator()[name] for name in MULTIPLYING), analysis.total()


def thop_total(model: nn.Module, x: Tensor) -> int:
    with torch.inference_mode():
        return int(thop.profile(copy.deepcopy(model), (x,), verbose=False)[0])


def assert_counts_agree(graph: Graph) -> None:
    torch.set_num_threads(1)
    model, x = Model(graph), torch.zeros((1, *graph.input_shape))
    macs, total = fvcore_counts(model, x)
    assert (macs, total) == (Cost.total(graph).macs, total_ops(graph, "fvcore"))
    assert thop_total(model, x) == total_ops(graph, "thop")
    assert Cost.total(graph).params == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("graph", samples(16, (3, 12, 12)), ids=lambda graph: graph.id[:6])
def test_counts_agree_with_fvcore_and_thop(graph: Graph) -> None:
    assert_counts_agree(graph)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 500, 50))
def test_five_hundred_counts_agree_with_fvcore_and_thop(start: int) -> None:
    for graph in samples(500, (3, 32, 32))[start : start + 50]:
        assert_counts_agree(graph)


@pytest.mark.parametrize("graph", GRAPHS[:24], ids=lambda graph: graph.id[:6])
def test_counts_agree_with_torch(graph: Graph) -> None:
    model = Model(graph).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with counter:
        logits = model(torch.empty((1, *graph.input_shape), device="meta"))
    assert counter.get_total_flops() == Cost.total(graph).flops == 2 * Cost.total(graph).macs
    assert [tuple(y.shape) for y in logits] == [(1, 10)] * len(graph.exits)
    assert Cost.total(graph).params == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])
def test_costs_add_up_over_segments(graph: Graph) -> None:
    nodes, segments = graph.nodes, {segment.name: segment for segment in graph.segments()}
    sums = {
        name: (
            sum(nodes[position].layer.macs for position in segment.nodes),
            sum(nodes[position].layer.params for position in segment.nodes),
        )
        for name, segment in segments.items()
    }
    total = Cost.total(graph)
    assert (total.macs, total.params) == tuple(map(sum, zip(*sums.values(), strict=True)))
    costs = [Cost.of(graph, exit) for exit in range(len(graph.exits))]
    for exit, cost in enumerate(costs):
        names = [f"trunk_{trunk}" for trunk in range(exit + 1)] + [f"head_{exit}"]
        assert (cost.macs, cost.params) == tuple(map(sum, zip(*(sums[name] for name in names), strict=True)))
        assert total_ops(graph, "fvcore", exit) <= total_ops(graph, "fvcore")
    assert costs[-1] == Cost.of(graph)


def test_an_exit_that_is_not_there() -> None:
    for exit in (-1, len(GRAPHS[0].exits)):
        with pytest.raises(IndexError, match=f"exit must be 0 to {len(GRAPHS[0].exits) - 1}, but got {exit}"):
            Cost.of(GRAPHS[0], exit)


def test_costs_as_json() -> None:
    assert Cost(**Cost.of(GRAPHS[0]).to_json()) == Cost.of(GRAPHS[0])


@final
@dataclass(frozen=True)
class Attention(Op):
    """A user's own op: multiplies without having weights."""

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x

    def macs(self, *inputs: Shape) -> int:
        (x,) = inputs
        return 2 * x[0] * math.prod(x[1:]) ** 2


def network(write: Callable[[Net, Feature], Feature], shape: Shape = (3, 8, 8)) -> Graph:
    """One exit behind the feature that is written."""

    def first(name: str, options: Sequence[Option]) -> Option:
        return options[0]

    net = Net(first)
    net.exit(lambda x: linear(global_avg_pool(x), 10), write(net, net.input(shape)))
    return net.graph()


def test_an_op_of_ones_own_counts() -> None:
    graph = network(lambda net, x: net.apply(Attention(), x, name="attention"))
    assert Cost.of(graph) == Cost(2 * 3 * 64**2 + 3 * 10, 3 * 10 + 10, 2 * 3 * 64 * 4)
    assert total_ops(graph, "thop") - total_ops(graph, "fvcore") == 3


def test_peaks_by_hand() -> None:
    image, normalized = 3 * 64, 4 * 3 * 64
    assert Cost.of(network(lambda net, x: x)).peak_bytes == image + normalized
    # A convolution needs its input and its result; what follows it in place needs nothing.
    wide = 4 * 32 * 64
    assert Cost.of(network(lambda net, x: conv_norm_act(x, 32))).peak_bytes == normalized + wide
    # A shortcut waits while its branch is at its widest.
    x, hidden = 4 * 8 * 64, 4 * 48 * 64

    def residual(net: Net, image: Feature) -> Feature:
        x = conv(image, 8)
        return x + conv_norm_act(conv_norm_act(conv_norm_act(x, 48), 48, kernel_size=3), 8, act=None)

    assert Cost.of(network(residual)).peak_bytes == x + 2 * hidden
    # Depth-first, the last operand of a join first: the wide branch is gone before the narrow one is made.
    narrow = 4 * 2 * 64

    def two_branches(net: Net, x: Feature) -> Feature:
        a, b = conv(x, 2), conv(x, 32)
        return concat(a, conv(b, 2))

    assert Cost.of(network(two_branches)).peak_bytes == normalized + wide + narrow


def small_network(rng: Random) -> Graph:
    """Up to nine features of different sizes that branch and join."""

    def write(net: Net, x: Feature) -> Feature:
        features = [conv(x, rng.choice([2, 4, 8]))]
        for _ in range(rng.randint(2, 5)):
            x, y = rng.choice(features[-2:]), rng.choice(features)
            kind = rng.choice(["conv", "conv", "act", "sum", "concat", "pool"])
            if kind == "sum" and x.shape == y.shape:
                features.append(x + y)
            elif kind == "concat" and x.shape[1:] == y.shape[1:]:
                features.append(concat(x, y))
            elif kind == "act":
                features.append(activation(batch_norm(x)))
            else:
                features.append(max_pool(x) if kind == "pool" else conv(x, rng.choice([2, 4, 8])))
        return features[-1]

    return network(write)


def schedules(graph: Graph, done: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every order in which the nodes can run."""
    if len(done) == len(graph.nodes):
        yield done
    for position, node in enumerate(graph.nodes):
        if position not in done and set(node.inputs) <= set(done):
            yield from schedules(graph, (*done, position))


def peak_of(graph: Graph, schedule: Sequence[int]) -> int:
    """Largest sum of live features, node by node."""
    left = [sum(node.inputs.count(position) for node in graph.nodes) for position in range(len(graph.nodes))]
    live: dict[int, int] = {}
    peak = 0
    for position in schedule:
        node = graph.nodes[position]
        for source in node.inputs:
            left[source] -= 1
        dead = {source for source in node.inputs if not left[source]}
        overwritten = node.op.in_place and node.layer.out_bytes in {live[source] for source in dead}
        live[position] = node.layer.out_bytes
        peak = max(peak, sum(live.values()) - overwritten * node.layer.out_bytes)
        for source in dead:
            del live[source]
    return peak


def test_peaks_lie_between_the_best_order_and_the_written_one() -> None:
    equal = 0
    for seed in range(60):
        graph = small_network(Random(seed))
        best = min(peak_of(graph, schedule) for schedule in schedules(graph))
        peak = Cost.of(graph).peak_bytes
        assert best <= peak <= peak_of(graph, range(len(graph.nodes)))
        equal += best == peak
    assert equal > 50


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])
def test_peaks_have_bounds(graph: Graph) -> None:
    layers = [layer for layer in graph.layers if not layer.op.in_place]
    own = max(
        layer.out_bytes + _read_bytes(graph, position)
        for position, layer in enumerate(graph.layers)
        if layer in layers
    )
    assert own <= Cost.total(graph).peak_bytes <= sum(layer.out_bytes for layer in graph.layers)


def _read_bytes(graph: Graph, position: int) -> int:
    return sum(graph.layers[source].out_bytes for source in set(graph.nodes[position].inputs))
