"""The building blocks of compact networks: each a function from a feature to a feature of `out_channels`.

Every block takes the stride `stride` (sizes become `ceil(size / stride)`) and adds or keeps its input where
the paper does so: when neither size nor channels change.
"""

from __future__ import annotations

from nas import Feature, block
from nas.layers import (
    ActivationKind,
    activation,
    avg_pool,
    batch_norm,
    channel_shuffle,
    channel_slice,
    concat,
    conv,
    conv_norm_act,
    global_avg_pool,
    linear,
    max_pool,
)

__all__ = [
    "bottleneck_conv",
    "depthwise_separable",
    "divisible",
    "fire",
    "inverted_residual",
    "low_rank_conv",
    "low_rank_linear",
    "shuffle_v1",
    "shuffle_v2",
    "squeeze_excite",
    "standard_conv",
    "xception_stack",
]


def divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, at least one, and not more than a tenth below `channels`.

    The rounding of MobileNetV2's reference implementation.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@block
def standard_conv(
    x: Feature, out_channels: int, *, kernel_size: int = 3, stride: int = 1, name: str = "standard_conv"
) -> Feature:
    """A full convolution with normalization and activation, with a shortcut where shapes allow."""
    y = conv_norm_act(x, out_channels, kernel_size=kernel_size, stride=stride)
    return x + y if y.shape == x.shape else y


@block
def depthwise_separable(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    act: ActivationKind = "relu",
    name: str = "depthwise_separable",
) -> Feature:
    """MobileNetV1's block: depthwise, then pointwise (https://arxiv.org/abs/1704.04861)."""
    channels = x.channels
    y = conv_norm_act(
        x, channels, kernel_size=kernel_size, stride=stride, groups=channels, act=act, name="depthwise"
    )
    return conv_norm_act(y, out_channels, act=act, name="pointwise")


@block
def inverted_residual(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    expand_ratio: float = 6,
    se_ratio: float = 0.0,
    act: ActivationKind = "relu6",
    name: str = "inverted_residual",
) -> Feature:
    """MobileNetV2's block: expand, filter depthwise, project (https://arxiv.org/abs/1801.04381).

    With `se_ratio`, squeeze-and-excitation stands behind the depthwise convolution, as in MnasNet.
    """
    hidden = round(x.channels * expand_ratio)
    y = conv_norm_act(x, hidden, act=act, name="expand") if expand_ratio != 1 else x
    y = conv_norm_act(
        y, hidden, kernel_size=kernel_size, stride=stride, groups=hidden, act=act, name="depthwise"
    )
    if se_ratio:
        y = squeeze_excite(y, squeeze_channels=divisible(x.channels * se_ratio, 4))
    y = conv_norm_act(y, out_channels, act=None, name="project")
    return x + y if y.shape == x.shape else y


@block
def squeeze_excite(x: Feature, *, squeeze_channels: int, name: str = "squeeze_excite") -> Feature:
    """Channels weighted by a small network that sees their means (https://arxiv.org/abs/1709.01507)."""
    gate = activation(linear(global_avg_pool(x), squeeze_channels, name="reduce"), "relu")
    return x * activation(linear(gate, x.channels, name="expand"), "hardsigmoid", name="gate")


@block
def low_rank_conv(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    rank_ratio: float = 0.5,
    name: str = "low_rank_conv",
) -> Feature:
    """A k x k convolution as k x 1 and 1 x k through `rank_ratio * out_channels` channels.

    Scheme 2 of Jaderberg et al. (https://arxiv.org/abs/1405.3866); the shortcut is ours.
    """
    rank = divisible(rank_ratio * out_channels, 4)
    y = conv(x, rank, kernel_size=(kernel_size, 1), stride=(stride, 1), name="vertical")
    y = conv(y, out_channels, kernel_size=(1, kernel_size), stride=(1, stride), name="horizontal")
    y = activation(batch_norm(y))
    return x + y if y.shape == x.shape else y


@block
def bottleneck_conv(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    rank_ratio: float = 0.25,
    name: str = "bottleneck_conv",
) -> Feature:
    """1 x 1, k x k, 1 x 1: a convolution of low rank in its input and output channels (Tucker-2).

    Kim et al. (https://arxiv.org/abs/1511.06530); with normalization it is ResNet's bottleneck
    (https://arxiv.org/abs/1512.03385).
    """
    rank = divisible(rank_ratio * out_channels, 4)
    y = conv_norm_act(x, rank, name="reduce")
    y = conv_norm_act(y, rank, kernel_size=kernel_size, stride=stride, name="filter")
    y = conv_norm_act(y, out_channels, act=None, name="restore")
    return activation(x + y if y.shape == x.shape else y)


@block
def low_rank_linear(x: Feature, out_features: int, *, rank: int, name: str = "low_rank_linear") -> Feature:
    """A linear layer as the product of two thin ones; a rank that saves nothing gives the full layer."""
    if rank * (x.channels + out_features) >= x.channels * out_features:
        return linear(x, out_features, name="full")
    return linear(linear(x, rank, bias=False, name="reduce"), out_features, name="restore")


@block
def shuffle_v1(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    groups: int = 2,
    name: str = "shuffle_v1",
) -> Feature:
    """ShuffleNetV1's unit: grouped pointwise, shuffle, depthwise, grouped pointwise.

    https://arxiv.org/abs/1707.01083.

    Where shapes change, the average-pooled input is joined along channels if the output is wider, and
    otherwise added through a pointwise convolution. Pointwise groups are dropped where channels do not
    divide.
    """
    joined = x.channels if (stride > 1 or out_channels != x.channels) and out_channels > x.channels else 0
    branch = out_channels - joined
    hidden = divisible(out_channels / 4, groups)
    first = groups if x.channels % groups == 0 else 1
    last = groups if branch % groups == 0 else 1
    y = conv_norm_act(x, hidden, groups=first, name="reduce")
    y = channel_shuffle(y, groups if first > 1 else 1)
    y = conv_norm_act(
        y, hidden, kernel_size=kernel_size, stride=stride, groups=hidden, act=None, name="depthwise"
    )
    y = conv_norm_act(y, branch, groups=last, act=None, name="restore")
    shortcut = avg_pool(x, stride=stride) if stride > 1 else x
    if joined:
        return activation(concat(shortcut, y))
    if shortcut.shape != y.shape:
        shortcut = conv_norm_act(shortcut, out_channels, act=None, name="shortcut")
    return activation(shortcut + y)


@block
def shuffle_v2(
    x: Feature, out_channels: int, *, kernel_size: int = 3, stride: int = 1, name: str = "shuffle_v2"
) -> Feature:
    """ShuffleNetV2's unit: half of the channels pass by (https://arxiv.org/abs/1807.11164).

    Where shapes change, both halves are made from the whole input, as in the paper's unit for down-sampling.
    """
    half = out_channels // 2
    if stride == 1 and out_channels == x.channels:
        kept, y = channel_slice(x, 0, half), channel_slice(x, half, x.channels)
    else:
        kept = y = x
        kept = conv_norm_act(
            kept,
            x.channels,
            kernel_size=kernel_size,
            stride=stride,
            groups=x.channels,
            act=None,
            name="shortcut_depthwise",
        )
        kept = conv_norm_act(kept, half, name="shortcut_pointwise")
    branch = out_channels - half
    y = conv_norm_act(y, branch, name="expand")
    y = conv_norm_act(
        y, branch, kernel_size=kernel_size, stride=stride, groups=branch, act=None, name="depthwise"
    )
    y = conv_norm_act(y, branch, name="project")
    return channel_shuffle(concat(kept, y), 2)


@block
def fire(
    x: Feature,
    out_channels: int,
    *,
    stride: int = 1,
    squeeze_ratio: float = 0.125,
    wide_ratio: float = 0.5,
    norm: bool = True,
    name: str = "fire",
) -> Feature:
    """SqueezeNet's module: squeeze by 1 x 1, expand by 1 x 1 and 3 x 3 side by side.

    https://arxiv.org/abs/1602.07360.

    `wide_ratio` is the share of 3 x 3 filters. A stride pools the input first. Without `norm` convolutions
    have a bias, as in the paper.
    """
    x = max_pool(x, stride=stride) if stride > 1 else x
    wide = divisible(wide_ratio * out_channels, 4)
    wide = wide if wide < out_channels else out_channels // 2
    y = _conv_act(x, divisible(squeeze_ratio * out_channels, 4), kernel_size=1, norm=norm, name="squeeze")
    narrow = _conv_act(y, out_channels - wide, kernel_size=1, norm=norm, name="expand1x1")
    return concat(narrow, _conv_act(y, wide, kernel_size=3, norm=norm, name="expand3x3"))


@block
def _conv_act(
    x: Feature, out_channels: int, *, kernel_size: int, norm: bool, name: str = "conv_act"
) -> Feature:
    y = conv(x, out_channels, kernel_size=kernel_size, bias=not norm)
    return activation(batch_norm(y) if norm else y)


@block
def xception_stack(
    x: Feature,
    out_channels: int,
    *,
    depth: int = 2,
    kernel_size: int = 3,
    stride: int = 1,
    narrow: bool = False,
    act_first: bool = True,
    name: str = "xception_stack",
) -> Feature:
    """Xception's residual stack of separable convolutions (https://arxiv.org/abs/1610.02357).

    A stride max-pools at the end. `narrow` keeps the input's channels until the last convolution of the
    stack.
    """
    y = x
    for position in range(depth):
        y = activation(y) if act_first or position else y
        channels = x.channels if narrow and position < depth - 1 else out_channels
        y = conv(y, y.channels, kernel_size=kernel_size, groups=y.channels, name="depthwise")
        y = batch_norm(conv(y, channels, name="pointwise"))
    y = max_pool(y, stride=stride) if stride > 1 else y
    if y.shape != x.shape:
        x = conv_norm_act(x, out_channels, stride=stride, act=None, name="shortcut")
    return x + y
