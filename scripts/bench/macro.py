"""NAS-Bench-Macro: a small space of MobileNetV2 blocks of which every network was trained, as a search space.

Su et al., https://arxiv.org/abs/2103.11922. Eight layers are each none or one of two blocks, written here
as an expansion ratio (0, 3 or 6), from which the kernel follows (3 for 3, 5 for 6). A layer of none where
size and channels stay is nothing at all, so 6,561 choices build 3,969 networks.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from nas import Architecture, Feature, Net, SearchSpace, Shape
from nas.layers import conv_norm_act, global_avg_pool, linear
from search_spaces.blocks import inverted_residual

__all__ = ["EXPANSIONS", "PATH", "build", "code", "identity", "points", "space"]

PATH = Path(os.environ.get("NAS_TABLES", ".")) / "nasbench_macro_cifar10.parquet"
"""The table: columns `arch` (eight digits), `mean_acc` (percent), `flops`, `params`."""

EXPANSIONS = (0, 3, 6)
"""Expansion ratio of a layer, by the number it has in the table."""
STAGES = (2, 3, 3)
STEM_CHANNELS, LAST_CHANNELS = 32, 1280


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    x = conv_norm_act(net.input(input_shape), STEM_CHANNELS, kernel_size=3, act="relu6", name="stem")
    number = 0
    for depth in STAGES:
        channels = 2 * x.channels
        for place in range(depth):
            expansion, stride = net.choice(f"layer{number}", *EXPANSIONS), 2 if place == 0 else 1
            number += 1
            if expansion:
                x = inverted_residual(
                    x,
                    channels,
                    kernel_size=3 if expansion == 3 else 5,
                    expand_ratio=expansion,
                    stride=stride,
                )
            elif place == 0:
                x = conv_norm_act(x, channels, stride=stride, act=None, name="identity")
    x = conv_norm_act(x, LAST_CHANNELS, act="relu6", name="last")
    net.exit(classifier, x, num_classes=num_classes)


def classifier(x: Feature, *, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


space = SearchSpace(build)


@cache
def points() -> dict[str, tuple[float, int]]:
    """Error in percent and MACs of every network, by its code. Twins were trained each on its own."""
    from pandas import read_parquet

    table = read_parquet(PATH, columns=["arch", "mean_acc", "flops"])
    rows = table.itertuples(index=False)
    return {code: (100 - float(accuracy), int(macs)) for code, accuracy, macs in rows}


def code(architecture: Architecture) -> str:
    """Its eight digits in the table."""
    return "".join(str(EXPANSIONS.index(expansion)) for _, expansion in architecture.choices)


@cache
def identity(code: str) -> str:
    """The id of a network, which twins share, from its code."""
    choices = {f"layer{place}": EXPANSIONS[int(digit)] for place, digit in enumerate(code)}
    return space.architecture(choices).id
