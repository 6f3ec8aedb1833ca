"""Every block keeps its contract: channels as asked, ceilings of sizes, shortcuts where nothing changes."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import final

import pytest
import torch
from torch import Tensor, nn

from nas.cost import Cost
from nas.errors import SpaceError
from nas.graph import Graph
from nas.layers import global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.ops import Add, Linear
from search_spaces.blocks import (
    bottleneck_conv,
    depthwise_separable,
    divisible,
    fire,
    inverted_residual,
    low_rank_conv,
    low_rank_linear,
    shuffle_v1,
    shuffle_v2,
    squeeze_excite,
    standard_conv,
    xception_stack,
)

torch.set_num_threads(1)
Block = Callable[..., Feature]

BLOCKS: dict[str, Block] = {
    "standard": standard_conv,
    "separable": depthwise_separable,
    "inverted": inverted_residual,
    "inverted_plain": partial(inverted_residual, expand_ratio=1),
    "inverted_gated": partial(inverted_residual, expand_ratio=2.5, se_ratio=0.25, kernel_size=5),
    "low_rank": partial(low_rank_conv, kernel_size=5),
    "bottleneck": bottleneck_conv,
    "shuffle_v1": shuffle_v1,
    "shuffle_v1_of_4": partial(shuffle_v1, groups=4, kernel_size=5),
    "shuffle_v2": shuffle_v2,
    "fire": fire,
    "fire_biased": partial(fire, norm=False, squeeze_ratio=0.5, wide_ratio=0.25),
    "xception": xception_stack,
    "xception_narrow": partial(xception_stack, depth=3, narrow=True, act_first=False),
}
RESIDUAL = {"standard", "inverted", "low_rank", "bottleneck", "shuffle_v1", "xception"}


def new_feature(shape: Shape) -> Feature:
    return Net(lambda name, options: options[0]).input(shape)


def with_head(feature: Feature) -> Graph:
    feature.net.exit(lambda x: linear(global_avg_pool(x), 3), feature)
    return feature.net.graph()


@pytest.mark.parametrize("name", BLOCKS)
def test_shapes(name: str) -> None:
    sizes = [(1, 1), (7, 12), (8, 5)]
    for stride, channels, out_channels, size in product((1, 2, 3), (8, 24), (8, 24, 40), sizes):
        y = BLOCKS[name](new_feature((channels, *size)), out_channels, stride=stride)
        assert y.shape == (out_channels, *(math.ceil(length / stride) for length in size))


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("out_channels", "stride"), [(8, 1), (16, 1), (16, 2), (8, 2)])
def test_the_model_of_a_block_runs(name: str, out_channels: int, stride: int) -> None:
    graph = with_head(BLOCKS[name](new_feature((8, 5, 9)), out_channels, stride=stride))
    (logits,) = Model(graph).eval()(torch.zeros((2, 8, 5, 9), dtype=torch.uint8))
    assert logits.shape == (2, 3) and bool(logits.isfinite().all())


@pytest.mark.parametrize("name", BLOCKS)
def test_shortcuts_stand_where_nothing_changes(name: str) -> None:
    family = name.split("_")[0] if name.startswith(("inverted", "xception")) else name.removesuffix("_of_4")
    same, wider = (with_head(BLOCKS[name](new_feature((16, 8, 8)), width)) for width in (16, 24))
    adds = [sum(isinstance(layer.op, Add) for layer in graph.layers) for graph in (same, wider)]
    assert adds[0] == (family in RESIDUAL)
    assert adds[1] == (family == "xception")  # whose shortcut is a convolution where shapes change


def macs_of(feature: Feature) -> int:
    return Cost.of(with_head(feature)).macs - 3 * feature.channels


@pytest.mark.parametrize(("channels", "width", "kernel_size", "size"), [(8, 24, 3, 6), (16, 16, 5, 9)])
def test_papers_formulas(channels: int, width: int, kernel_size: int, size: int) -> None:
    x = partial(new_feature, (channels, size, size))
    area, window = size**2, kernel_size**2
    full = area * window * channels * width
    assert macs_of(standard_conv(x(), width, kernel_size=kernel_size)) == full
    # MobileNet: 1 / N + 1 / k^2 of a full convolution.
    separable = macs_of(depthwise_separable(x(), width, kernel_size=kernel_size))
    assert separable / full == pytest.approx(1 / width + 1 / window)
    # MobileNetV2: h w t d' (d' + k^2 + d'').
    inverted = macs_of(inverted_residual(x(), width, kernel_size=kernel_size, expand_ratio=4))
    assert inverted == area * 4 * channels * (channels + window + width)
    # Jaderberg et al.: rank (C + N) k per position.
    rank = divisible(width / 2, 4)
    low_rank = macs_of(low_rank_conv(x(), width, kernel_size=kernel_size, rank_ratio=0.5))
    assert low_rank == area * rank * (channels + width) * kernel_size


def test_grouped_units_cost_less() -> None:
    costs = [macs_of(shuffle_v1(new_feature((48, 8, 8)), 48, groups=groups)) for groups in (1, 2, 3)]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) == 3


def test_gates_weigh_channels() -> None:
    graph = with_head(squeeze_excite(new_feature((8, 4, 4)), squeeze_channels=2))
    assert Cost.of(graph).params == (8 * 2 + 2) + (2 * 8 + 8) + (8 * 3 + 3)


@pytest.mark.parametrize(("rank", "params"), [(2, 2 * 30 + 2 * 20 + 20), (12, 30 * 20 + 20), (100, 620)])
def test_a_rank_that_saves_nothing_is_the_full_layer(rank: int, params: int) -> None:
    flat = global_avg_pool(new_feature((30, 2, 2)))
    y = low_rank_linear(flat, 20, rank=rank)
    layers = [node.layer for node in _graph_of_flat(y).nodes if isinstance(node.op, Linear)][:-1]
    assert sum(layer.params for layer in layers) == params


def _graph_of_flat(y: Feature) -> Graph:
    y.net.exit(lambda y: linear(y, 3), y)
    return y.net.graph()


@final
class ShuffleUnit(nn.Module):
    """ShuffleNetV2's basic unit, written by hand."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, y = x.chunk(2, dim=1)
        y = torch.cat([kept, self.branch(y)], 1)
        return y.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def test_a_shuffle_unit_computes_what_one_written_by_hand_does() -> None:
    model = Model(with_head(shuffle_v2(new_feature((8, 6, 6)), 8))).eval()
    reference = nn.Sequential(ShuffleUnit(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()
    keys = [key for key in model.state_dict() if not key.startswith("normalize")]
    theirs = reference.state_dict()
    reference.load_state_dict(dict(zip(theirs, (model.state_dict()[key] for key in keys), strict=True)))
    x = torch.rand(2, 8, 6, 6) * 255
    torch.testing.assert_close(model(x)[0], reference((x - 127.5) / 127.5))


@pytest.mark.parametrize(
    ("channels", "expected"), [(1, 8), (11, 16), (12, 16), (18, 24), (22.4, 24), (100, 104), (1280, 1280)]
)
def test_divisible(channels: float, expected: int) -> None:
    assert divisible(channels) == expected


def test_divisible_keeps_its_promise() -> None:
    for tenths, divisor in product(range(1, 4000), (2, 4, 8)):
        rounded = divisible(tenths / 10, divisor)
        assert rounded % divisor == 0 and rounded >= max(divisor, 0.9 * tenths / 10)
        assert rounded - tenths / 10 <= divisor


def test_channels_that_do_not_pair() -> None:
    with pytest.raises(SpaceError, match="channels must be a multiple of groups, but got 9 and 2"):
        shuffle_v2(new_feature((8, 4, 4)), 9)
