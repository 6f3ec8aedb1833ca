"""Amounts of one layer of each kind are those counted by hand, and those of a network are their sum."""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import final

import pytest
import torch
import torch.nn.functional as F

from nas.chains import BEFORE, Chain
from nas.graph import Graph
from nas.latency.features import chain_features, running_chains, spilled
from nas.op import Layer, Op, Shape
from nas.ops import Activation, Add, BatchNorm, Conv2d, Dropout, GlobalAvgPool, Linear, MaxPool
from nas.space import SearchSpace, load_space
from nas.stored import graph_from_json, graph_to_json

torch.set_num_threads(1)


@final
@dataclass(frozen=True)
class Roll(Op):
    """An op of a user's own, with multiplications."""

    def out_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]

    def macs(self, *inputs: Shape) -> int:
        return 7


def amounts(*ops: Op, shape: Shape, lanes: int = 1, fused: bool = False) -> dict[str, float]:
    """Features of ops one after another."""
    layers = []
    for op in ops:
        layers.append(Layer.of(op, (shape,)))
        shape = layers[-1].shape
    return chain_features(Chain(tuple(layers), BEFORE), lanes, fused=fused)


def taps(op: Conv2d, size: tuple[int, int]) -> int:
    """Products of one input and one output channel that are inside the image: a convolution of ones."""
    ones = F.conv2d(
        torch.ones(1, 1, *size), torch.ones(1, 1, *op.kernel_size), stride=op.stride, padding=op.padding
    )
    return int(ones.sum())


@pytest.mark.parametrize(
    ("op", "shape", "lanes", "kinds", "channels"),
    [
        (Conv2d(32, (3, 3), (1, 1), (1, 1)), (16, 5, 7), 16, ("conv 3x3", "conv"), (16, 32, 16)),
        (
            Conv2d(64, (3, 3), (2, 2), (1, 1)),
            (32, 9, 6),
            8,
            ("conv 3x3 strided", "conv strided"),
            (32, 64, 32),
        ),
        (Conv2d(8, (1, 5), (1, 1), (0, 2)), (8, 6, 3), 4, ("conv 1x5", "separable"), (8, 8, 8)),
        (Conv2d(24), (20, 4, 4), 16, ("pointwise",), (32, 32, 32)),
        (Conv2d(18), (18, 4, 4), 8, ("pointwise uneven",), (18, 18, 18)),
        (Conv2d(12, (3, 3), (1, 1), (1, 1)), (3, 8, 8), 8, ("conv 3x3 narrow", "conv narrow"), (3, 16, 3)),
        (
            Conv2d(20, (5, 5), (2, 2), (2, 2), 20),
            (20, 7, 7),
            16,
            ("depthwise 5 strided", "depthwise strided"),
            (32, 32, 1),
        ),
        (Conv2d(4, (3, 3), (1, 1), (1, 1), 4), (4, 6, 6), 16, ("depthwise 3", "depthwise"), (16, 16, 1)),
        (
            Conv2d(6, (3, 3), (1, 1), (1, 1), 6),
            (6, 6, 6),
            4,
            ("depthwise 3 uneven", "depthwise uneven"),
            (6, 6, 1),
        ),
        (Conv2d(32, groups=2), (64, 4, 4), 16, ("grouped",), (64, 32, 32)),
        (Conv2d(24, groups=3), (24, 4, 4), 16, ("grouped uneven",), (24, 24, 8)),
        (Conv2d(16, (3, 3), (2, 2), (1, 1), 8), (8, 8, 8), 8, ("grouped strided uneven",), (8, 16, 1)),
    ],
)
def test_a_convolution(
    op: Conv2d, shape: Shape, lanes: int, kinds: tuple[str, ...], channels: tuple[int, int, int]
) -> None:
    ins, outs, per_group = channels  # as the runtime pads them
    _, height, width = op.out_shape(shape)
    macs = outs * per_group * taps(op, shape[1:])
    expected: dict[str, object] = {}
    for kind in kinds:  # of this kernel size, and of any
        expected |= {
            f"{kind}: layers": 1,
            f"{kind}: macs": macs,
            f"{kind}: macs/width": pytest.approx(macs / width),
        }
    assert amounts(op, shape=shape, lanes=lanes) == expected | {
        f"{kind}: written": outs * height * width,
        f"{kind}: read": ins * shape[1] * shape[2],
        f"{kind}: macs/size": pytest.approx(macs / (height * width)),
        f"{kind}: macs/in": macs / per_group,
        f"{kind}: macs/out": macs / outs,
    }


def test_taps_at_the_border() -> None:
    op = Conv2d(4, (3, 3), (1, 1), (1, 1))
    assert amounts(op, shape=(4, 2, 2), lanes=4)["conv 3x3: macs"] == 4 * 4 * (4 * 4)  # in each corner 4
    assert amounts(op, shape=(4, 1, 3), lanes=4)["conv 3x3: macs"] == 4 * 4 * (2 + 3 + 2)


@pytest.mark.parametrize("seed", range(20))
def test_without_padding_nothing_is_left_out(seed: int) -> None:
    rng = Random(seed)
    kernel, stride = ((rng.randint(1, 5), rng.randint(1, 5)), (rng.randint(1, 3), rng.randint(1, 3)))
    op = Conv2d(8, kernel, stride)
    shape = (8, rng.randint(5, 12), rng.randint(5, 12))
    macs = {amount for name, amount in amounts(op, shape=shape).items() if name.endswith(": macs")}
    assert macs == {op.macs(shape)}


def test_what_follows_a_convolution_is_fused_with_it() -> None:
    conv, shape = Conv2d(8), (8, 3, 3)
    alone = amounts(conv, shape=shape)
    assert amounts(conv, BatchNorm(), shape=shape) == alone
    assert amounts(conv, Dropout(), shape=shape) == alone
    assert amounts(conv, Activation("silu"), shape=shape) == alone | {"silu fused": 72}
    assert amounts(conv, BatchNorm(), Activation("relu"), shape=shape) == alone | {"relu fused": 72}
    assert amounts(conv, Activation("relu"), Activation("relu"), shape=shape) == (
        alone | {"relu fused": 72, "relu": 72}
    )
    assert amounts(Activation("sigmoid"), shape=(5,), fused=True) == {"sigmoid fused": 5}
    assert amounts(BatchNorm(), shape=shape, fused=True) == {}


def test_any_other_layer() -> None:
    assert amounts(MaxPool(2, 2), shape=(8, 4, 6), lanes=8) == {
        "MaxPool: layers": 1,
        "MaxPool: written": 8 * 2 * 3,
        "MaxPool: read": 8 * 4 * 6,
    }
    assert amounts(BatchNorm(), shape=(8, 1, 1), lanes=16) == {
        "BatchNorm uneven: layers": 1,
        "BatchNorm uneven: written": 8,
        "BatchNorm uneven: read": 8,
    }
    assert amounts(GlobalAvgPool(), Linear(10), shape=(5, 2, 2), lanes=16) == {
        "GlobalAvgPool: layers": 1,
        "GlobalAvgPool: written": 5,
        "GlobalAvgPool: read": 20,
        "Linear: layers": 1,
        "Linear: written": 10,
        "Linear: read": 5,
        "Linear: macs": 50,
    }
    add = Chain((Layer.of(Add(), ((4, 2, 2), (4, 2, 2))),), (1, 3))
    assert chain_features(add, 4, fused=False) == {"Add: layers": 1, "Add: written": 16, "Add: read": 32}


def test_an_op_of_a_users_own() -> None:
    expected = {"Roll: layers": 1, "Roll: written": 18, "Roll: read": 18, "Roll: macs": 7}
    assert amounts(Roll(), shape=(2, 3, 3), lanes=2) == expected
    assert amounts(Roll(), Roll(), shape=(2, 3, 3)) == {key: 2 * amount for key, amount in expected.items()}


def test_weights_that_no_cache_holds() -> None:
    assert spilled(0) == spilled(2**20) == {}
    assert spilled(3 * 2**20) == {"weights beyond 1 MiB": 2**21, "weights beyond 2 MiB": 2**20}
    assert len(spilled(2**30)) == 5


def graphs(name: str, count: int) -> list[Graph]:
    space, rng = load_space(f"search_spaces.{name}:space"), Random(0)
    assert isinstance(space, SearchSpace)
    return [space.graph(space.sample(rng)) for _ in range(count)]


@pytest.mark.parametrize("name", ["msdnet", "mixed", "shuffle", "tiny", "xception"])
def test_it_is_no_matter_how_a_network_is_cut(name: str) -> None:
    cuts = set()
    for graph in graphs(name, 5):
        stored = graph_from_json(graph_to_json(graph))
        cuts.add(len(graph.chains) == len(stored.chains))
        for exit in range(len(graph.exits)):
            whole, again = (
                sum(
                    (Counter(chain_features(c, 8, fused=f)) for c, f in running_chains(g, exit)),
                    start=Counter[str](),
                )
                for g in (graph, stored)
            )
            assert whole == pytest.approx(again)
    assert False in cuts  # or this would tell nothing


@pytest.mark.parametrize("name", ["msdnet", "tiny"])
def test_the_layers_that_run_are_those_of_the_segments(name: str) -> None:
    for graph in graphs(name, 5):
        nodes = {segment.name: segment.nodes for segment in graph.segments()}
        for exit in range(len(graph.exits)):
            names = (*(f"trunk_{k}" for k in range(exit + 1)), f"head_{exit}")
            expected = Counter(graph.layers[position] for name in names for position in nodes[name])
            assert Counter(layer for c, _ in running_chains(graph, exit) for layer in c.layers) == expected
