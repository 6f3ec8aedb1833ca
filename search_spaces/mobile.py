"""Networks of depthwise-separable blocks: MobileNetV1 and V2 with widths, depths, kernels, exits to choose.

The plans are Table 1 of https://arxiv.org/abs/1704.04861 and Table 2 of https://arxiv.org/abs/1801.04381.
"""

from __future__ import annotations

from typing import NamedTuple, final

from nas import Feature, Net, Option, SearchSpace, Shape
from nas.layers import ActivationKind, conv_norm_act
from search_spaces.blocks import depthwise_separable, divisible, inverted_residual
from search_spaces.chain import Stage, ask_strides, classifier, published, repeat, run_stages

__all__ = ["build", "mobilenet_v1", "mobilenet_v2", "space"]

WIDTH_RATIOS = (0.25, 0.35, 0.5, 0.75, 1.0)


@final
class Plan(NamedTuple):
    """A stage at full size. `halves` marks those that halve an ImageNet image."""

    channels: int
    depth: int
    halves: bool


PLANS = {
    "separable": (
        Plan(64, 1, False),
        Plan(128, 2, True),
        Plan(256, 2, True),
        Plan(512, 6, True),
        Plan(1024, 2, True),
    ),
    "inverted": (
        Plan(16, 1, False),
        Plan(24, 2, True),
        Plan(32, 3, True),
        Plan(64, 4, True),
        Plan(96, 3, False),
        Plan(160, 3, True),
        Plan(320, 1, False),
    ),
}


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    inverted = net.choice("block", "inverted", "separable") == "inverted"
    plans = PLANS["inverted" if inverted else "separable"]
    stem_stride, *halving = ask_strides(net, input_shape, 1 + sum(plan.halves for plan in plans))
    strides = [halving.pop(0) if plan.halves else 1 for plan in plans]
    stem = divisible(32 * net.choice("stem_width_ratio", *WIDTH_RATIOS))
    act: ActivationKind = "relu6" if inverted else "relu"
    x = conv_norm_act(net.input(input_shape), stem, kernel_size=3, stride=stem_stride, act=act, name="stem")
    stages = [_stage(net, plan, inverted, first=plan is plans[0]) for plan in plans]
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes)
    last_channels = net.choice("last_channels", 0, 160, 320, 640, 1280)
    if last_channels:
        x = conv_norm_act(x, last_channels, act=act, name="last")
    net.exit(classifier, x, *summary, num_classes=num_classes, dropout_p=0.2 if inverted else 0.0)


def _stage(net: Net, plan: Plan, inverted: bool, first: bool) -> Stage:
    def stage(x: Feature, stride: int) -> Feature:
        width = divisible(plan.channels * net.choice("width_ratio", *WIDTH_RATIOS))
        depth = net.choice("depth", *range(1, plan.depth + 1))
        kernel_size = net.choice("kernel_size", 3, 5, 7)
        if not inverted:
            return repeat(x, depthwise_separable, width, depth=depth, stride=stride, kernel_size=kernel_size)
        return repeat(
            x,
            inverted_residual,
            width,
            depth=depth,
            stride=stride,
            kernel_size=kernel_size,
            expand_ratio=1 if first else net.choice("expand_ratio", 3, 4, 6),
            se_ratio=net.choice("se_ratio", 0.0, 0.25),
        )

    return stage


space = SearchSpace(build)


_FULL: dict[str, Option] = {"width_ratio": 1.0, "kernel_size": 3}
_V2: dict[str, Option] = _FULL | {"se_ratio": 0.0}

mobilenet_v1 = published(
    space,
    *({**_FULL, "depth": plan.depth} for plan in PLANS["separable"]),
    block="separable",
    stem_width_ratio=1.0,
    last_channels=0,
)
mobilenet_v2 = published(
    space,
    {**_V2, "depth": 1},
    *({**_V2, "depth": plan.depth, "expand_ratio": 6} for plan in PLANS["inverted"][1:]),
    block="inverted",
    stem_width_ratio=1.0,
    last_channels=1280,
)
