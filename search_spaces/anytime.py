"""Networks made for exits: they look at an image in passes from fine to coarse, with an exit behind each.

The first pass is a small network; every further one deepens its features at each scale, adds what the finer
scale has found anew, and answers better. So the first exit has coarse features, as in MSDNet
(https://arxiv.org/abs/1703.09844), but features are added up instead of joined, with blocks and channels of
each scale to choose: few wide convolutions instead of many narrow ones, which runtimes compute faster.
`static` is the same with one pass, `whole` with the last exit alone: networks that are trained for one
budget each.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple, final

from nas import Feature, Net, SearchSpace, Shape, block
from nas.layers import activation, avg_pool, conv_norm_act
from search_spaces.chain import COARSEST, HEADS, early_head, repeat
from search_spaces.families import FAMILIES

__all__ = ["build", "space", "static", "whole"]

BLOCKS = ("standard", "bottleneck", "inverted", "low_rank", "xception")
WIDTHS = ((16, 24, 32), (32, 48, 64), (48, 64, 96, 128))
"""Channels of each scale, from fine to coarse."""
DEPTHS = ((0, 1, 2, 3), (0, 1, 2, 3), (1, 2))
"""Blocks of each scale in a pass; the first pass has one at least."""
PASSES = (2, 3, 4)


@final
class Scale(NamedTuple):
    """What the blocks of one scale are in all passes."""

    family: str
    channels: int
    settings: dict[str, Any]
    stride: int
    """From the next finer scale."""


def build(
    net: Net,
    input_shape: Shape = (3, 32, 32),
    num_classes: int = 10,
    *,
    passes: tuple[int, ...] = PASSES,
    early: bool = True,
) -> None:
    halvings = sum(math.ceil(min(input_shape[1:]) / (1 << done)) >= COARSEST for done in (1, 2, 3))
    halves_first = bool(halvings) and net.choice("stem_stride", 1, 2) == 2
    stem_channels = net.choice("stem_channels", 16, 8)
    x = conv_norm_act(
        net.input(input_shape), stem_channels, kernel_size=3, stride=1 + halves_first, name="stem"
    )
    scales = []
    for number, widths in enumerate(WIDTHS):
        halved = number < halvings and not (number == 0 and halves_first)
        with net.scope(f"scale{number}"):
            scales.append(_ask_scale(net, widths, stride=1 + halved))
    features = _first_pass(net, x, scales)
    kind = net.choice("head", *HEADS[1:])
    count = net.choice("passes", *passes) if len(passes) > 1 else passes[0]
    for number in range(count):
        if number:
            with net.scope(f"pass{number}"):
                features = _further_pass(net, features, scales)
        if early or number == count - 1:
            net.exit(early_head, features[-1], kind=kind, num_classes=num_classes)


def _ask_scale(net: Net, widths: tuple[int, ...], *, stride: int) -> Scale:
    name = net.choice("block", *BLOCKS)
    channels = net.choice("channels", *widths)
    settings = {
        setting: net.choice(setting, *options) if len(options) > 1 else options[0]
        for setting, options in FAMILIES[name].settings.items()
    }
    return Scale(name, channels, settings, stride)


def _first_pass(net: Net, x: Feature, scales: list[Scale]) -> tuple[Feature, ...]:
    """The features of every scale."""
    features = []
    for number, (scale, depths) in enumerate(zip(scales, DEPTHS, strict=True)):
        with net.scope(f"pass0.scale{number}"):
            depth = net.choice("depth", *(depth for depth in depths if depth))
            x = _blocks(x, scale, depth=depth, stride=scale.stride)
        features.append(x)
    return tuple(features)


def _further_pass(net: Net, features: tuple[Feature, ...], scales: list[Scale]) -> tuple[Feature, ...]:
    """The same, deeper, with what the next finer scale has found in this pass."""
    found: list[Feature] = []
    for number, (x, scale, depths) in enumerate(zip(features, scales, DEPTHS, strict=True)):
        with net.scope(f"scale{number}"):
            depth = net.choice("depth", *depths)
            if found and found[-1] is not features[number - 1]:
                x = _join(x, found[-1], stride=scale.stride)
            found.append(_blocks(x, scale, depth=depth, stride=1) if depth else x)
    return tuple(found)


def _blocks(x: Feature, scale: Scale, *, depth: int, stride: int) -> Feature:
    unit = FAMILIES[scale.family].unit
    return repeat(x, unit, scale.channels, depth=depth, stride=stride, **scale.settings)


@block
def _join(x: Feature, finer: Feature, *, stride: int, name: str = "join") -> Feature:
    """A feature and what the next finer scale adds to it."""
    y = avg_pool(finer, kernel_size=stride + 1, stride=stride) if stride > 1 else finer
    return activation(x + conv_norm_act(y, x.channels, act=None))


space = SearchSpace(build)
static = SearchSpace(partial(build, passes=(1,)), "search_spaces.anytime:static")
whole = SearchSpace(partial(build, early=False), "search_spaces.anytime:whole")
