"""The primitive operations of which every network is made, with torch's names and arithmetic of shapes.

Multiply-accumulates follow fvcore (https://github.com/facebookresearch/fvcore): one fused multiply-add
counts as one, and only convolutions and linear layers count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

from nas.errors import SpaceError
from nas.op import Op, Shape
from nas.window import image_shape, output_size, pooled_shape

__all__ = [
    "Activation",
    "ActivationKind",
    "Add",
    "AvgPool",
    "BatchNorm",
    "ChannelShuffle",
    "Concat",
    "Conv2d",
    "Dropout",
    "GlobalAvgPool",
    "Input",
    "Linear",
    "MaxPool",
    "Multiply",
    "Normalize",
    "Slice",
]

Pair = tuple[int, int]
ActivationKind = Literal["relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu"]


@final
@dataclass(frozen=True)
class Input(Op):
    """The raw image: unsigned bytes, `(C, H, W)`."""

    element_bytes: ClassVar[int] = 1

    shape: Shape

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(not isinstance(size, int) or size < 1 for size in self.shape):
            raise SpaceError(
                f"an input shape must be three positive integers (C, H, W), but got {self.shape}"
            )

    def out_shape(self, *inputs: Shape) -> Shape:
        return self.shape


@final
@dataclass(frozen=True)
class Normalize(Op):
    """Cast to float, then `(x - mean) / std` per channel, in units of the raw image (0 to 255)."""

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x

    def buffers(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        return {"mean": (x[0],), "std": (x[0],)}


@final
@dataclass(frozen=True)
class Conv2d(Op):
    """Cross-correlation with zero padding, as `torch.nn.Conv2d`."""

    out_channels: int
    kernel_size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        whole = isinstance(self.out_channels, int) and isinstance(self.groups, int)
        if not whole or self.out_channels < 1 or self.groups < 1 or self.out_channels % self.groups:
            raise SpaceError(
                f"out_channels must be a positive integer, a multiple of groups, "
                f"but got {self.out_channels=}, {self.groups=}"
            )

    def out_shape(self, *inputs: Shape) -> Shape:
        channels, *_ = x = image_shape(type(self).__name__, *inputs)
        if channels % self.groups:
            raise SpaceError(
                f"in_channels must be a multiple of groups, but got {channels} and {self.groups}"
            )
        return (self.out_channels, *output_size(x, self.kernel_size, self.stride, self.padding))

    def weights(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        kernel = {"weight": (self.out_channels, x[0] // self.groups, *self.kernel_size)}
        return kernel | ({"bias": (self.out_channels,)} if self.bias else {})

    def macs(self, *inputs: Shape) -> int:
        (x,) = inputs
        return math.prod(self.out_shape(x)) * x[0] // self.groups * math.prod(self.kernel_size)


@final
@dataclass(frozen=True)
class Linear(Op):
    """A matrix times a flat feature, as `torch.nn.Linear`."""

    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.out_features, int) or self.out_features < 1:
            raise SpaceError(f"out_features must be a positive integer, but got {self.out_features}")

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if len(x) != 1:
            raise SpaceError(f"a linear layer reads a flat feature (C,), but got {x}; pool it first")
        return (self.out_features,)

    def weights(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        return {"weight": (self.out_features, x[0])} | ({"bias": (self.out_features,)} if self.bias else {})

    def macs(self, *inputs: Shape) -> int:
        (x,) = inputs
        return x[0] * self.out_features


@final
@dataclass(frozen=True)
class BatchNorm(Op):
    """Batch normalization over channels (https://arxiv.org/abs/1502.03167), as in torch."""

    in_place: ClassVar[bool] = True

    eps: float = 1e-5

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x

    def weights(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        return {"weight": (x[0],), "bias": (x[0],)}

    def buffers(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        return {"running_mean": (x[0],), "running_var": (x[0],)}


@final
@dataclass(frozen=True)
class Activation(Op):
    """An elementwise nonlinearity, named as in torch."""

    in_place: ClassVar[bool] = True

    kind: ActivationKind = "relu"

    def __post_init__(self) -> None:
        if self.kind not in get_args(ActivationKind):
            raise SpaceError(
                f"an activation must be one of {get_args(ActivationKind)}, but got {self.kind!r}"
            )

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x


@final
@dataclass(frozen=True)
class MaxPool(Op):
    """Largest value of each window."""

    kernel_size: int
    stride: int
    padding: int = 0

    def out_shape(self, *inputs: Shape) -> Shape:
        return pooled_shape(self.kernel_size, self.stride, self.padding, *inputs)


@final
@dataclass(frozen=True)
class AvgPool(Op):
    """Average of each window; padding does not count."""

    kernel_size: int
    stride: int
    padding: int = 0

    def out_shape(self, *inputs: Shape) -> Shape:
        return pooled_shape(self.kernel_size, self.stride, self.padding, *inputs)


@final
@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """Mean over space: `(C, H, W)` to `(C,)`."""

    def out_shape(self, *inputs: Shape) -> Shape:
        return image_shape(type(self).__name__, *inputs)[:1]


@final
@dataclass(frozen=True)
class Add(Op):
    """Sum of features of equal shape."""

    commutative: ClassVar[bool] = True
    in_place: ClassVar[bool] = True

    def out_shape(self, *inputs: Shape) -> Shape:
        if len(inputs) < 2 or any(shape != inputs[0] for shape in inputs):
            raise SpaceError(f"features must have one shape to be added, but got {inputs}")
        return inputs[0]


@final
@dataclass(frozen=True)
class Multiply(Op):
    """A feature `(C, H, W)` times a gate `(C,)`, as squeeze-and-excitation needs it."""

    in_place: ClassVar[bool] = True

    def out_shape(self, *inputs: Shape) -> Shape:
        x, gate = inputs
        if gate != x[:1]:
            raise SpaceError(
                f"a gate must have one value per channel, but got {gate} for a feature of shape {x}"
            )
        return x


@final
@dataclass(frozen=True)
class Concat(Op):
    """Features of one scale, channel after channel."""

    def out_shape(self, *inputs: Shape) -> Shape:
        if not inputs or any(shape[1:] != inputs[0][1:] for shape in inputs):
            raise SpaceError(f"features must have one scale to be joined, but got {inputs}")
        return (sum(shape[0] for shape in inputs), *inputs[0][1:])


@final
@dataclass(frozen=True)
class Slice(Op):
    """Channels `start` to `stop` (exclusive) of a feature."""

    start: int
    stop: int

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        if not 0 <= self.start < self.stop <= x[0]:
            raise SpaceError(f"0 <= start < stop <= channels must hold, but got {self} of {x[0]} channels")
        return (self.stop - self.start, *x[1:])


@final
@dataclass(frozen=True)
class ChannelShuffle(Op):
    """Channels of the groups interleaved (ShuffleNet, https://arxiv.org/abs/1707.01083)."""

    groups: int

    def out_shape(self, *inputs: Shape) -> Shape:
        x = image_shape(type(self).__name__, *inputs)
        if self.groups < 1 or x[0] % self.groups:
            raise SpaceError(f"channels must be a multiple of groups, but got {x[0]} and {self.groups}")
        return x


@final
@dataclass(frozen=True)
class Dropout(Op):
    """Elements zeroed at random while training, as `torch.nn.Dropout`."""

    in_place: ClassVar[bool] = True

    p: float = 0.2

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x
