"""The torch layer of each op: torch's own module where there is one, which tools for torch know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import singledispatch
from typing import final

import torch
from torch import Tensor, nn

from nas import ops
from nas.errors import SpaceError
from nas.op import Op, Shape

__all__ = ["Normalize", "torch_layer"]

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
}


@singledispatch
def torch_layer(op: Op, *in_shapes: Shape) -> nn.Module:
    """The module that computes an op, its weights drawn from torch's global generator.

    Register one for an op of your own: `torch_layer.register`. The names of its parameters and buffers are
    those of `op.weights` and `op.buffers`.
    """
    raise SpaceError(
        f"an op must have a torch layer, but {type(op).__name__} has none; "
        "register one with nas.model.torch_layer"
    )


@final
class Normalize(nn.Module):
    """As the op of its name; images become channels_last here."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((channels,), 127.5))
        self.register_buffer("std", torch.full((channels,), 127.5))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype, memory_format=torch.channels_last)
        return (x - self.mean[:, None, None]) / self.std[:, None, None]


@final
class Add(nn.Module):
    def forward(self, x: Tensor, y: Tensor, *others: Tensor) -> Tensor:
        x = x + y
        for other in others:
            x = x + other
        return x


@final
class Multiply(nn.Module):
    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x * gate[:, :, None, None]


@final
class Concat(nn.Module):
    def forward(self, *features: Tensor) -> Tensor:
        return torch.cat(features, 1)


@final
class Slice(nn.Module):
    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


@torch_layer.register
def _(op: ops.Input) -> nn.Module:
    return nn.Identity()


@torch_layer.register
def _(op: ops.Normalize, x: Shape) -> nn.Module:
    return Normalize(x[0])


@torch_layer.register
def _(op: ops.Conv2d, x: Shape) -> nn.Module:
    layer = nn.Conv2d(
        x[0], op.out_channels, op.kernel_size, op.stride, op.padding, groups=op.groups, bias=op.bias
    )
    # He initialization, https://arxiv.org/abs/1502.01852, by fan-out within the group.
    nn.init.normal_(layer.weight, std=math.sqrt(2 * op.groups / op.out_channels / math.prod(op.kernel_size)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


@torch_layer.register
def _(op: ops.Linear, x: Shape) -> nn.Module:
    layer = nn.Linear(x[0], op.out_features, op.bias)
    if op.bias:
        nn.init.zeros_(layer.bias)
    return layer


@torch_layer.register
def _(op: ops.BatchNorm, x: Shape) -> nn.Module:
    return (nn.BatchNorm2d if len(x) == 3 else nn.BatchNorm1d)(x[0], op.eps)


@torch_layer.register
def _(op: ops.Activation, x: Shape) -> nn.Module:
    return ACTIVATIONS[op.kind]()


@torch_layer.register
def _(op: ops.MaxPool, x: Shape) -> nn.Module:
    return nn.MaxPool2d(op.kernel_size, op.stride, op.padding)


@torch_layer.register
def _(op: ops.AvgPool, x: Shape) -> nn.Module:
    return nn.AvgPool2d(op.kernel_size, op.stride, op.padding, count_include_pad=False)


@torch_layer.register
def _(op: ops.GlobalAvgPool, x: Shape) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))


@torch_layer.register
def _(op: ops.Add, *in_shapes: Shape) -> nn.Module:
    return Add()


@torch_layer.register
def _(op: ops.Multiply, x: Shape, gate: Shape) -> nn.Module:
    return Multiply()


@torch_layer.register
def _(op: ops.Concat, *in_shapes: Shape) -> nn.Module:
    return Concat()


@torch_layer.register
def _(op: ops.Slice, x: Shape) -> nn.Module:
    return Slice(op.start, op.stop)


@torch_layer.register
def _(op: ops.ChannelShuffle, x: Shape) -> nn.Module:
    return nn.ChannelShuffle(op.groups)


@torch_layer.register
def _(op: ops.Dropout, x: Shape) -> nn.Module:
    return nn.Dropout(op.p)
