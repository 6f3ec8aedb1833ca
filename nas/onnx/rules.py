"""How each op is written in ONNX: one rule per op, open to ops of your own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from nas.errors import SpaceError
from nas.graph import Node
from nas.onnx.protos import FLOAT, add_node, add_tensor
from nas.op import Op
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
    Linear,
    MaxPool,
    Multiply,
    Normalize,
    Slice,
)

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["LayerWriter", "Weights", "onnx_nodes"]

Weights = Mapping[str, NDArray[np.float32]]


@final
class LayerWriter:
    """One layer on its way into an ONNX graph: what a rule of `onnx_nodes` reads, and how it writes.

    `inputs` and `output` are names of tensors, `shape` is that of the output without N, `weights` are the
    layer's own, buffers included, under the names that the op gives them.
    """

    def __init__(
        self, node: Node, inputs: tuple[str, ...], output: str, *, weights: Weights, proto: GraphProto
    ) -> None:
        self.shape = node.shape
        self.inputs = inputs
        self.output = output
        self.weights = weights
        self._name = node.name
        self._proto = proto

    def node(self, op_type: str, *inputs: str, part: str = "", **attributes: int | float | list[int]) -> str:
        """Write an operator of ONNX and return its result: the layer's output, or `part` of the way to it."""
        output = f"{self.output}/{part}" if part else self.output
        add_node(self._proto, op_type, inputs, [output], **attributes)
        return output

    def constant(self, name: str, value: Any) -> str:
        """Write a tensor, float32 unless it is made of integers, and return its name in the graph."""
        return add_tensor(self._proto, f"{self._name}.{name}", value)

    def constants(self, *names: str) -> tuple[str, ...]:
        """Write those weights of these names that the layer has."""
        return tuple(self.constant(name, self.weights[name]) for name in names if name in self.weights)


@singledispatch
def onnx_nodes(op: Op, layer: LayerWriter) -> None:
    """Write the ONNX nodes of one op; the last of them makes `layer.output`."""
    raise SpaceError(
        f"an op must have an ONNX rule to be exported, but {type(op).__name__} has none; "
        "register one with nas.onnx.onnx_nodes.register"
    )


@onnx_nodes.register
def _(op: Normalize, layer: LayerWriter) -> None:
    mean, std = (layer.weights[name].astype(np.float64)[:, None, None] for name in ("mean", "std"))
    pixels = layer.node("Cast", *layer.inputs, part="float", to=FLOAT)
    scaled = layer.node("Mul", pixels, layer.constant("scale", 1 / std), part="scaled")
    layer.node("Add", scaled, layer.constant("shift", -mean / std))


@onnx_nodes.register
def _(op: Conv2d, layer: LayerWriter) -> None:
    layer.node(
        "Conv",
        *layer.inputs,
        *layer.constants("weight", "bias"),
        kernel_shape=[*op.kernel_size],
        strides=[*op.stride],
        pads=[*op.padding, *op.padding],
        group=op.groups,
    )


@onnx_nodes.register
def _(op: Linear, layer: LayerWriter) -> None:
    layer.node("Gemm", *layer.inputs, *layer.constants("weight", "bias"), transB=1)


@onnx_nodes.register
def _(op: BatchNorm, layer: LayerWriter) -> None:
    stored = layer.constants("weight", "bias", "running_mean", "running_var")
    layer.node("BatchNormalization", *layer.inputs, *stored, epsilon=float(op.eps))


@onnx_nodes.register
def _(op: Activation, layer: LayerWriter) -> None:
    if op.kind == "relu6":
        layer.node("Clip", *layer.inputs, layer.constant("min", 0.0), layer.constant("max", 6.0))
    elif op.kind == "hardsigmoid":
        layer.node("HardSigmoid", *layer.inputs, alpha=1 / 6, beta=0.5)
    elif op.kind == "silu":
        layer.node("Mul", *layer.inputs, layer.node("Sigmoid", *layer.inputs, part="gate"))
    else:
        layer.node({"relu": "Relu", "hardswish": "HardSwish", "sigmoid": "Sigmoid"}[op.kind], *layer.inputs)


@onnx_nodes.register
def _(op: MaxPool | AvgPool, layer: LayerWriter) -> None:
    layer.node(
        "MaxPool" if isinstance(op, MaxPool) else "AveragePool",  # which leaves padding out of the average
        *layer.inputs,
        kernel_shape=[op.kernel_size] * 2,
        strides=[op.stride] * 2,
        pads=[op.padding] * 4,
    )


@onnx_nodes.register
def _(op: GlobalAvgPool, layer: LayerWriter) -> None:
    layer.node("Flatten", layer.node("GlobalAveragePool", *layer.inputs, part="mean"))


@onnx_nodes.register
def _(op: Add, layer: LayerWriter) -> None:
    # Runtimes fuse a convolution with the Add of two, not with a Sum.
    layer.node("Add" if len(layer.inputs) == 2 else "Sum", *layer.inputs)


@onnx_nodes.register
def _(op: Multiply, layer: LayerWriter) -> None:
    x, gate = layer.inputs
    layer.node("Mul", x, layer.node("Unsqueeze", gate, layer.constant("axes", [2, 3]), part="gate"))


@onnx_nodes.register
def _(op: Concat, layer: LayerWriter) -> None:
    layer.node("Concat", *layer.inputs, axis=1)


@onnx_nodes.register
def _(op: Slice, layer: LayerWriter) -> None:
    bounds = {"start": [op.start], "stop": [op.stop], "axis": [1]}
    layer.node("Slice", *layer.inputs, *(layer.constant(name, bound) for name, bound in bounds.items()))


@onnx_nodes.register
def _(op: ChannelShuffle, layer: LayerWriter) -> None:
    channels, height, width = layer.shape
    split = layer.constant("split", [0, op.groups, channels // op.groups, height * width])  # 0 keeps N
    groups = layer.node("Reshape", *layer.inputs, split, part="groups")
    mixed = layer.node("Transpose", groups, part="mixed", perm=[0, 2, 1, 3])
    layer.node("Reshape", mixed, layer.constant("join", [0, channels, height, width]))


@onnx_nodes.register
def _(op: Dropout, layer: LayerWriter) -> None:
    layer.node("Identity", *layer.inputs)
