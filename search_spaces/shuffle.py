"""Networks of grouped convolutions and shuffles: ShuffleNetV1 and V2 with widths, depths, exits to choose.

The plan is Table 5 of https://arxiv.org/abs/1807.11164; V1's unit (https://arxiv.org/abs/1707.01083) runs
on the same one.
"""

from __future__ import annotations

from nas import Feature, Net, SearchSpace, Shape
from nas.layers import conv_norm_act, max_pool
from search_spaces.blocks import divisible, shuffle_v1, shuffle_v2
from search_spaces.chain import Stage, ask_strides, classifier, published, repeat, run_stages

__all__ = ["build", "shufflenet_v2", "space"]

WIDTHS = ((24, 48, 116, 176), (48, 96, 232, 352), (96, 192, 464, 704))
"""Channels of each stage: half of V2 0.5x, then V2 0.5x, 1.0x and 1.5x."""
DEPTHS = ((1, 2, 3, 4), (2, 4, 6, 8), (1, 2, 3, 4))
GROUPS = (2, 3, 4, 8)


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    unit = net.choice("block", "v2", "v1")
    stem_stride, pool_stride, *strides = ask_strides(net, input_shape, 2 + len(WIDTHS))
    x = net.input(input_shape)
    x = conv_norm_act(
        x, net.choice("stem_channels", 8, 16, 24), kernel_size=3, stride=stem_stride, name="stem"
    )
    x = max_pool(x, stride=pool_stride, name="stem.pool") if pool_stride > 1 else x
    stages = [_stage(net, unit, widths, depths) for widths, depths in zip(WIDTHS, DEPTHS, strict=True)]
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes)
    last_channels = net.choice("last_channels", 0, 256, 512, 1024)
    if last_channels:
        x = conv_norm_act(x, last_channels, name="last")
    net.exit(classifier, x, *summary, num_classes=num_classes)


def _stage(net: Net, unit: str, widths: tuple[int, ...], depths: tuple[int, ...]) -> Stage:
    def stage(x: Feature, stride: int) -> Feature:
        width = net.choice("channels", *widths)
        depth = net.choice("depth", *depths)
        kernel_size = net.choice("kernel_size", 3, 5)
        if unit == "v2":
            return repeat(x, shuffle_v2, width, depth=depth, stride=stride, kernel_size=kernel_size)
        groups = net.choice("groups", *GROUPS)
        width = divisible(width, 4 * groups)  # so that the bottleneck, a quarter of it, divides too
        return repeat(
            x, shuffle_v1, width, depth=depth, stride=stride, kernel_size=kernel_size, groups=groups
        )

    return stage


space = SearchSpace(build)

shufflenet_v2 = published(
    space,
    {"channels": 116, "depth": 4, "kernel_size": 3},
    {"channels": 232, "depth": 8, "kernel_size": 3},
    {"channels": 464, "depth": 4, "kernel_size": 3},
    block="v2",
    stem_channels=24,
    last_channels=1024,
)
