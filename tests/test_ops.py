"""Ops know shapes, weights and multiply-accumulates as torch computes them."""

from dataclasses import FrozenInstanceError, dataclass, fields
from random import Random
from typing import final

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas import ops
from nas.errors import SpaceError
from nas.model import torch_layer
from nas.op import Layer, Op, Shape
from nas.ops import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    ChannelShuffle,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Input,
    Linear,
    MaxPool,
    Multiply,
    Normalize,
    Slice,
)

IMAGE = (6, 7, 10)
LAYERS = [
    Layer.of(Normalize(), (IMAGE,)),
    Layer.of(Conv2d(8, (3, 3), (2, 1), (1, 0)), (IMAGE,)),
    Layer.of(Conv2d(12, (1, 5), (1, 3), (0, 2), groups=3, bias=True), (IMAGE,)),
    Layer.of(Conv2d(6, (7, 7), (2, 2), (3, 3), groups=6), (IMAGE,)),
    Layer.of(Linear(5), ((6,),)),
    Layer.of(Linear(5, bias=False), ((6,),)),
    Layer.of(BatchNorm(), (IMAGE,)),
    Layer.of(BatchNorm(eps=1e-3), ((6,),)),
    *(
        Layer.of(Activation(kind), (IMAGE,))
        for kind in ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu")
    ),
    Layer.of(MaxPool(3, 2, 1), (IMAGE,)),
    Layer.of(AvgPool(5, 4, 2), (IMAGE,)),
    Layer.of(GlobalAvgPool(), (IMAGE,)),
    Layer.of(Add(), (IMAGE, IMAGE)),
    Layer.of(Add(), ((6,), (6,), (6,))),
    Layer.of(Multiply(), (IMAGE, (6,))),
    Layer.of(Concat(), (IMAGE, (2, 7, 10), (1, 7, 10))),
    Layer.of(Concat(), ((6,), (2,))),
    Layer.of(Slice(1, 5), (IMAGE,)),
    Layer.of(Slice(0, 1), ((6,),)),
    Layer.of(ChannelShuffle(3), (IMAGE,)),
    Layer.of(Dropout(0.5), (IMAGE,)),
]


def meta(shape: Shape) -> Tensor:
    return torch.empty((2, *shape), device="meta")


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.op}{layer.in_shapes}")
def test_a_layer_is_what_its_torch_module_is(layer: Layer) -> None:
    module = torch_layer(layer.op, *layer.in_shapes).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter:
        y = module(*[meta(shape) for shape in layer.in_shapes])
    assert tuple(y.shape[1:]) == layer.shape
    assert counter.get_total_flops() == 2 * 2 * layer.macs  # two images, two operations each
    assert {name: tuple(value.shape) for name, value in module.named_parameters()} == layer.weights
    buffers = {name: tuple(value.shape) for name, value in module.named_buffers()}
    buffers.pop("num_batches_tracked", None)
    assert buffers == layer.buffers
    assert layer.params == sum(value.numel() for value in module.parameters())


def test_every_op_is_compared_above() -> None:
    found = {getattr(ops, name) for name in ops.__all__}
    kinds = {kind for kind in found if isinstance(kind, type) and issubclass(kind, Op)}
    assert {type(layer.op) for layer in LAYERS} == kinds - {Input}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer.op}{layer.in_shapes}")
def test_every_op_is_a_frozen_value(layer: Layer) -> None:
    assert layer.op == type(layer.op)(*[getattr(layer.op, field.name) for field in fields(layer.op)])
    assert Layer.of(layer.op, layer.in_shapes) is layer
    with pytest.raises((FrozenInstanceError, TypeError)):
        layer.op.anything = 1


def torch_accepts(module: nn.Module, x: Shape) -> Shape | None:
    try:
        return tuple(module(meta(x)).shape[1:])
    except (RuntimeError, ValueError):
        return None


def test_windows_end_where_torch_says_they_do() -> None:
    rng = Random(0)
    vanished = 0
    for _ in range(600):
        x = (4, rng.randint(1, 9), rng.randint(1, 9))
        kernel, stride, padding = rng.randint(1, 6), rng.randint(1, 4), rng.randint(0, 3)
        for op in (
            Conv2d(4, (kernel, 2), (stride, 1), (padding, 1), groups=2),
            MaxPool(kernel, stride, padding),
            AvgPool(kernel, stride, padding),
        ):
            expected = torch_accepts(torch_layer(op, x).to("meta"), x)
            if expected is None:
                vanished += 1
                with pytest.raises(SpaceError):
                    op.out_shape(x)
            else:
                assert op.out_shape(x) == expected
    assert vanished > 100


def test_padding_does_not_count_in_averages() -> None:
    x = torch.ones(1, 2, 5, 5)
    y = torch_layer(AvgPool(3, 2, 1), (2, 5, 5))(x)
    assert torch.equal(y, torch.ones(1, 2, 3, 3)) and not torch.equal(F.avg_pool2d(x, 3, 2, 1), y)


@pytest.mark.parametrize(
    ("op", "in_shapes", "message"),
    [
        (Conv2d(4, groups=2), ((3, 8, 8),), "in_channels must be a multiple of groups, but got 3 and 2"),
        (Conv2d(4), ((3,),), r"Conv2d must read a feature \(C, H, W\), but got \(3,\)"),
        (
            Conv2d(4, (3, 3)),
            ((3, 2, 8),),
            r"must not vanish, but .* \(3, 3\) leaves nothing of \(2, 8\)",
        ),
        (Conv2d(4, (0, 1)), ((3, 8, 8),), r"a window must be positive, but got kernel_size=\(0, 1\)"),
        (Conv2d(4, stride=(1, 0)), ((3, 8, 8),), r"must be positive, but got .* stride=\(1, 0\)"),
        (Linear(4), ((3, 8, 8),), r"reads a flat feature \(C,\), but got \(3, 8, 8\); pool it first"),
        (MaxPool(2, 1, 2), ((3, 8, 8),), "padding must be at most half the window, but got 2 for 2"),
        (GlobalAvgPool(), ((3,),), r"GlobalAvgPool must read a feature \(C, H, W\), but got \(3,\)"),
        (Add(), ((3, 8, 8), (4, 8, 8)), r"one shape to be added, but got \(\(3, 8, 8\), \(4, 8, 8\)\)"),
        (Multiply(), ((3, 8, 8), (4,)), r"one value per channel, but got \(4,\) for .* \(3, 8, 8\)"),
        (Concat(), ((3, 8, 8), (3, 4, 4)), r"one scale to be joined, but got \(\(3, 8, 8\), \(3, 4, 4\)\)"),
        (Slice(2, 4), ((3, 8, 8),), r"stop <= channels must hold, but got Slice\(start=2, stop=4\) of 3"),
        (ChannelShuffle(2), ((3, 8, 8),), "a multiple of groups, but got 3 and 2"),
    ],
)
def test_inputs_that_do_not_fit(op: Op, in_shapes: tuple[Shape, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Layer.of(op, in_shapes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(0), "must be a positive integer, a multiple of groups, but got self.out_channels=0"),
        (lambda: Conv2d(8, groups=3), "a multiple of groups, but got self.out_channels=8, self.groups=3"),
        (lambda: Conv2d(8.0), r"must be a positive integer, .*=8\.0"),
        (lambda: Linear(0), "out_features must be a positive integer, but got 0"),
        (lambda: Linear(2.5), r"must be a positive integer, but got 2\.5"),
        (lambda: Activation("gelu"), r"one of \('relu', .*, but got 'gelu'"),
        (lambda: Input((32, 32)), r"three positive integers \(C, H, W\), but got \(32, 32\)"),
        (lambda: Input((3, 0, 32)), r"three positive integers \(C, H, W\), but got \(3, 0, 32\)"),
    ],
)
def test_settings_that_cannot_be(make: object, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


@final
@dataclass(frozen=True)
class Attention(Op):
    """A user's own op: multiplies without having weights."""

    heads: int = 2

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x

    def macs(self, *inputs: Shape) -> int:
        (x,) = inputs
        return 2 * x[0] * (x[1] * x[2]) ** 2


def test_an_op_of_ones_own_has_a_layer() -> None:
    layer = Layer.of(Attention(), ((4, 3, 3),))
    assert (layer.shape, layer.macs, layer.params, layer.out_bytes) == ((4, 3, 3), 648, 0, 144)
    assert layer.token != Layer.of(Attention(heads=4), ((4, 3, 3),)).token
    assert not layer.overwrites
