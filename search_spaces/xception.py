"""Networks of residual stacks of separable convolutions: Xception with widths, depths and exits to choose.

The plan is Figure 5 of https://arxiv.org/abs/1610.02357. Convolutions are padded by half, as in all spaces
here, where the original's stem is not: parameters are the same.
"""

from __future__ import annotations

from nas import Feature, Net, Option, SearchSpace, Shape, block
from nas.layers import activation, batch_norm, conv, conv_norm_act
from search_spaces.blocks import divisible, xception_stack
from search_spaces.chain import Stage, ask_strides, classifier, published, run_stages

__all__ = ["build", "space", "xception"]

WIDTH_RATIOS = (0.0625, 0.125, 0.25, 0.5, 1.0)
CHANNELS = (128, 256, 728, 1024)
"""Channels of the stages at full width; the last one reaches them in its last convolution only."""
MIDDLE_DEPTHS = (0, 1, 2, 4, 8)


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    stem_stride, *strides = ask_strides(net, input_shape, 1 + len(CHANNELS))
    stem_ratio = net.choice("stem_width_ratio", 0.25, 0.5, 1.0)
    x = conv_norm_act(
        net.input(input_shape), divisible(32 * stem_ratio), kernel_size=3, stride=stem_stride, name="stem1"
    )
    x = conv_norm_act(x, divisible(64 * stem_ratio), kernel_size=3, name="stem2")
    stages = [_stage(net, position) for position in range(len(CHANNELS))]
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes)
    for position, channels in enumerate((1536, 2048)):
        width = divisible(channels * net.choice(f"last{position}_width_ratio", *WIDTH_RATIOS))
        x = _separable(x, width, name=f"last{position}")
    net.exit(classifier, x, *summary, num_classes=num_classes)


def _stage(net: Net, position: int) -> Stage:
    """A stack that may halve the image; the third stage then has the middle flow, stacks of three."""

    def stage(x: Feature, stride: int) -> Feature:
        width = divisible(CHANNELS[position] * net.choice("width_ratio", *WIDTH_RATIOS))
        kernel_size = net.choice("kernel_size", 3, 5)
        x = xception_stack(
            x,
            width,
            kernel_size=kernel_size,
            stride=stride,
            narrow=position == len(CHANNELS) - 1,
            act_first=position > 0,
            name="entry",
        )
        for middle in range(net.choice("middle_depth", *MIDDLE_DEPTHS) if position == 2 else 0):
            x = xception_stack(x, width, depth=3, kernel_size=kernel_size, name=f"middle{middle}")
        return x

    return stage


@block
def _separable(x: Feature, out_channels: int, *, name: str = "separable") -> Feature:
    """Depthwise, pointwise, normalization, activation: nothing between the first two, as in the paper."""
    y = conv(x, x.channels, kernel_size=3, groups=x.channels, name="depthwise")
    return activation(batch_norm(conv(y, out_channels, name="pointwise")))


space = SearchSpace(build)

_FULL: dict[str, Option] = {"width_ratio": 1.0, "kernel_size": 3}

xception = published(
    space,
    _FULL,
    _FULL,
    {**_FULL, "middle_depth": 8},
    _FULL,
    size=299,
    stem_width_ratio=1.0,
    last0_width_ratio=1.0,
    last1_width_ratio=1.0,
)
