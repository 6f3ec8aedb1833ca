"""The words in which blocks are written: one function per primitive operation, from feature to feature.

Sizes follow one rule: a window with `padding=None` and stride `s` turns a size `n` into `ceil(n / s)`,
whether `n` is odd or even (odd kernels, padded by half). So features that met the same strides always join.
"""

from __future__ import annotations

from functools import lru_cache

from nas.errors import SpaceError
from nas.net import Feature, block
from nas.ops import (
    Activation,
    ActivationKind,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Linear,
    MaxPool,
    Slice,
)

__all__ = [
    "ActivationKind",
    "activation",
    "avg_pool",
    "batch_norm",
    "channel_shuffle",
    "channel_slice",
    "concat",
    "conv",
    "conv_norm_act",
    "dropout",
    "global_avg_pool",
    "linear",
    "max_pool",
]

Size = int | tuple[int, int]


def conv(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: Size = 1,
    stride: Size = 1,
    padding: Size | None = None,
    groups: int = 1,
    bias: bool = False,
    name: str = "conv",
) -> Feature:
    """A convolution; `padding=None` keeps `ceil(size / stride)`."""
    op = _conv2d(out_channels, kernel_size, stride, padding, groups=groups, bias=bias)
    return x.net.apply(op, x, name=name)


def linear(x: Feature, out_features: int, *, bias: bool = True, name: str = "linear") -> Feature:
    """A fully connected layer on a flat feature."""
    return x.net.apply(Linear(out_features, bias), x, name=name)


def batch_norm(x: Feature, *, eps: float = 1e-5, name: str = "norm") -> Feature:
    """Batch normalization."""
    return x.net.apply(BatchNorm(eps), x, name=name)


def activation(x: Feature, kind: ActivationKind = "relu", *, name: str = "act") -> Feature:
    """An elementwise nonlinearity."""
    return x.net.apply(Activation(kind), x, name=name)


def max_pool(
    x: Feature, *, kernel_size: int = 3, stride: int = 2, padding: int | None = None, name: str = "pool"
) -> Feature:
    """Largest value of each window; `padding=None` keeps `ceil(size / stride)`."""
    pad = _same((kernel_size, kernel_size))[0] if padding is None else padding
    return x.net.apply(MaxPool(kernel_size, stride, pad), x, name=name)


def avg_pool(
    x: Feature, *, kernel_size: int = 3, stride: int = 2, padding: int | None = None, name: str = "pool"
) -> Feature:
    """Average of each window, padding not counted; `padding=None` keeps `ceil(size / stride)`."""
    pad = _same((kernel_size, kernel_size))[0] if padding is None else padding
    return x.net.apply(AvgPool(kernel_size, stride, pad), x, name=name)


def global_avg_pool(x: Feature, *, name: str = "pool") -> Feature:
    """Mean over space: `(C, H, W)` to `(C,)`."""
    return x.net.apply(GlobalAvgPool(), x, name=name)


def concat(*features: Feature, name: str = "concat") -> Feature:
    """Features of one scale joined along channels; one feature is itself."""
    return features[0] if len(features) == 1 else features[0].net.apply(Concat(), *features, name=name)


def channel_slice(x: Feature, start: int, stop: int, *, name: str = "slice") -> Feature:
    """Channels `start` to `stop` (exclusive)."""
    return x.net.apply(Slice(start, stop), x, name=name)


def channel_shuffle(x: Feature, groups: int, *, name: str = "shuffle") -> Feature:
    """Channels of the groups interleaved; with one group nothing changes."""
    return x if groups == 1 else x.net.apply(ChannelShuffle(groups), x, name=name)


def dropout(x: Feature, p: float = 0.2, *, name: str = "dropout") -> Feature:
    """Elements zeroed at random while training."""
    return x.net.apply(Dropout(p), x, name=name)


@block
def conv_norm_act(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: Size = 1,
    stride: Size = 1,
    groups: int = 1,
    act: ActivationKind | None = "relu",
    name: str = "conv_norm_act",
) -> Feature:
    """Convolution, batch normalization and, unless `act` is None, an activation: the brick of most blocks."""
    y = batch_norm(conv(x, out_channels, kernel_size=kernel_size, stride=stride, groups=groups))
    return y if act is None else activation(y, act)


@lru_cache(maxsize=1 << 14)
def _conv2d(
    out_channels: int, kernel_size: Size, stride: Size, padding: Size | None, *, groups: int, bias: bool
) -> Conv2d:
    """The op, made once: a search writes the same convolutions in thousands of networks."""
    kernel = _pair(kernel_size)
    pad = _same(kernel) if padding is None else _pair(padding)
    return Conv2d(out_channels, kernel, _pair(stride), pad, groups, bias)


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _same(kernel: tuple[int, int]) -> tuple[int, int]:
    if not (kernel[0] % 2 and kernel[1] % 2):
        raise SpaceError(f"a kernel must be odd where padding is not given, but got {kernel}; give padding")
    return kernel[0] // 2, kernel[1] // 2
