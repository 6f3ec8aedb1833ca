"""What spaces of stages in a row have in common: where images are halved, and exits that see every scale.

An early exit reads a running summary at the coarsest scale, to which every stage before it adds: so the
first exits have coarse features without pulling the first stages toward classification, the idea of MSDNet
(https://arxiv.org/abs/1703.09844) at the cost of a few pointwise convolutions on a small grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas import Architecture, Feature, Net, Option, SearchSpace, Shape, block
from nas.layers import activation, avg_pool, concat, conv_norm_act, dropout, global_avg_pool, linear

__all__ = [
    "COARSEST",
    "HEADS",
    "Stage",
    "ask_strides",
    "classifier",
    "early_head",
    "published",
    "repeat",
    "run_stages",
]

HEADS = ("none", "linear", "conv")
"""What may stand behind a stage: no exit, a linear classifier, or one with a separable convolution before
it."""

COARSEST = 4
"""Images are halved as long as their shorter side stays at least this; ImageNet's 224 ends at 7, CIFAR's 32
at 4."""

Stage = Callable[[Feature, int], Feature]
"""Asks a stage's choices and writes its blocks, given its input and its stride."""


def ask_strides(net: Net, input_shape: Shape, places: int) -> tuple[int, ...]:
    """The stride, 1 or 2, of each place where a network may halve the image.

    Small images are halved at some of the places only: the last ones, the first ones, or spread evenly.
    """
    size = min(input_shape[1:])
    halvings = sum(math.ceil(size / (1 << done)) >= COARSEST for done in range(1, places + 1))
    if halvings in (0, places):
        return (1 + (halvings > 0),) * places
    halved = {
        "late": range(places - halvings, places),
        "spread": [(2 * step + 1) * places // (2 * halvings) for step in range(halvings)],
        "early": range(halvings),
    }[net.choice("downsampling", "late", "spread", "early")]
    return tuple(1 + (place in halved) for place in range(places))


@block
def repeat(
    x: Feature,
    unit: Callable[..., Feature],
    out_channels: int,
    *,
    depth: int,
    stride: int = 1,
    name: str = "blocks",
    **settings: Any,
) -> Feature:
    """A stage of `depth` equal blocks, of which the first has the stride and changes the channels."""
    for position in range(depth):
        x = unit(x, out_channels, stride=stride if position == 0 else 1, name=f"block{position}", **settings)
    return x


def run_stages(
    net: Net,
    x: Feature,
    stages: Sequence[Stage],
    *,
    strides: Sequence[int],
    num_classes: int,
    summary_channels: tuple[int, ...] = (16, 32, 64),
) -> tuple[Feature, ...]:
    """Write the stages and the early exits that are chosen; gives what the last exit should read.

    That is the last stage's result and, where there are early exits, their summary.
    """
    kinds = [net.choice(f"exit{position}", *HEADS) for position in range(len(stages) - 1)]
    exits = any(kind != "none" for kind in kinds)
    channels = net.choice("summary_channels", *summary_channels) if exits else 0
    summary: tuple[Feature, ...] = ()
    for position, (stage, stride) in enumerate(zip(stages, strides, strict=True)):
        with net.scope(f"stage{position}"):
            x = stage(x, stride)
            if exits:
                factor = math.prod(strides[position + 1 :])
                summary = (_summarize(x, *summary, channels=channels, factor=factor),)
            if position < len(kinds) and kinds[position] != "none":
                net.exit(early_head, *summary, kind=kinds[position], num_classes=num_classes)
    return (x, *summary)


def published(
    space: SearchSpace, *stages: Mapping[str, Option], size: int = 224, **choices: Option
) -> Architecture:
    """A paper's network at ImageNet's size, without early exits: the choices of its stages and the rest."""
    for position, stage in enumerate(stages):
        choices |= {f"stage{position}.{name}": option for name, option in stage.items()}
        if position < len(stages) - 1:
            choices[f"exit{position}"] = "none"
    return space.at((3, size, size), 1000).architecture(choices)


@block
def classifier(
    *features: Feature, num_classes: int, dropout_p: float = 0.0, name: str = "classifier"
) -> Feature:
    """The plain last head: features pooled over space, joined, and a linear layer."""
    pooled = concat(*(global_avg_pool(feature) for feature in features))
    return linear(dropout(pooled, dropout_p) if dropout_p else pooled, num_classes)


@block
def _summarize(x: Feature, *earlier: Feature, channels: int, factor: int, name: str = "summary") -> Feature:
    """The summary so far plus this stage, averaged down to the coarsest scale by `factor`."""
    y = avg_pool(x, kernel_size=factor + 1, stride=factor) if factor > 1 else x
    y = conv_norm_act(y, channels, act=None)
    return earlier[0] + y if earlier else y


@block
def early_head(summary: Feature, *, kind: str, num_classes: int) -> Feature:
    """A classifier of the summary; channels are mixed behind the pool, at one multiplication per weight."""
    y = activation(summary)
    if kind == "linear":
        return linear(global_avg_pool(y), num_classes)
    y = conv_norm_act(y, y.channels, kernel_size=3, groups=y.channels, name="depthwise")
    hidden = activation(linear(global_avg_pool(y), 2 * y.channels, name="hidden"))
    return linear(hidden, num_classes)
