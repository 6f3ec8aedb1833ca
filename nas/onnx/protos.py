"""Put nodes and tensors into an ONNX graph, of which the package `onnx` gives only the bare messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import MissingExtraError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

__all__ = ["BOOL", "FLOAT", "INT64", "UINT8", "add_node", "add_tensor", "declare", "empty_model"]

FLOAT, UINT8, INT64, BOOL = 1, 2, 7, 9  # onnx.TensorProto.DataType
_F, _I, _GRAPH, _INTS = 1, 2, 5, 7  # onnx.AttributeProto.AttributeType

# The oldest pair that has all we write: runtimes on devices and in browsers lag behind by years.
_OPSET = 17
_IR_VERSION = 8

_KINDS = {"f": (FLOAT, "<f4"), "i": (INT64, "<i8"), "b": (BOOL, "?")}


def empty_model(name: str) -> ModelProto:
    """A file without nodes."""
    try:
        from onnx import ModelProto
    except ImportError as error:
        raise MissingExtraError.of("onnx", "search") from error
    model = ModelProto(ir_version=_IR_VERSION, producer_name="nas-dial")
    model.opset_import.add(version=_OPSET)
    model.graph.name = name
    return model


def declare(interface: Any, name: str, kind: int, shape: Sequence[int | str]) -> None:
    """Add an input or output of a graph; a size that stays open is a text, its name."""
    tensor = interface.add(name=name).type.tensor_type
    tensor.elem_type = kind
    tensor.shape.SetInParent()  # else no sizes, of a scalar, would be an unknown number of sizes
    for size in shape:
        if isinstance(size, str):
            tensor.shape.dim.add(dim_param=size)
        else:
            tensor.shape.dim.add(dim_value=size)


def add_node(
    proto: GraphProto, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
) -> None:
    """Add an operator of ONNX; an attribute is a number, a list of whole numbers or a graph."""
    node = proto.node.add(op_type=op_type, name=outputs[0], input=inputs, output=outputs)
    for name, value in attributes.items():
        if isinstance(value, list):
            node.attribute.add(name=name, type=_INTS, ints=value)
        elif isinstance(value, float):
            node.attribute.add(name=name, type=_F, f=value)
        elif isinstance(value, int):
            node.attribute.add(name=name, type=_I, i=value)
        else:
            node.attribute.add(name=name, type=_GRAPH, g=value)


def add_tensor(proto: GraphProto, name: str, value: Any) -> str:
    """Add a constant, float32 unless it is made of integers or truth values, and return its name."""
    array = np.asarray(value)
    kind, dtype = _KINDS[array.dtype.kind]
    proto.initializer.add(name=name, data_type=kind, dims=array.shape, raw_data=array.astype(dtype).tobytes())
    return name
