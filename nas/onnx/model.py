"""Write a segment of a network, or a whole exit, as the bytes of one ONNX file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.bundle import CONFIDENCE, IMAGE, LOGITS, NEXT_STATE, RESERVED, STATE, Readout
from nas.errors import SpaceError
from nas.graph import Graph, Node, Segment
from nas.onnx.protos import FLOAT, UINT8, declare, empty_model
from nas.onnx.readout import own_logits, write_readout
from nas.onnx.rules import LayerWriter, Weights, onnx_nodes
from nas.ops import BatchNorm, Conv2d, Dropout, Linear

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["onnx_model", "shipped_segments", "tensor_names"]


def onnx_model(
    graph: Graph,
    weights: Weights,
    segment: Segment | None = None,
    *,
    exit: int | None = None,
    readout: Readout | None = None,
) -> bytes:
    """The ONNX file of one segment, or of one exit (by default the last) with everything that it needs.

    `weights` are keyed by node and weight, such as `stem.conv.weight`, as `nas.model.Model.weights` gives.
    A head answers by its `readout`; the file of a whole exit has logits only.
    """
    part = _as_shipped(segment) if segment else _whole(graph, len(graph.exits) - 1 if exit is None else exit)
    model = empty_model(part.name)
    head = _head_exit(part)
    readout = readout or Readout()
    inputs, outputs = tensor_names(graph, part, readout)
    sizes = _sizes(graph, part)
    for interface, names in ((model.graph.input, inputs), (model.graph.output, outputs)):
        for name in names:
            declare(interface, name, UINT8 if name == IMAGE else FLOAT, ("batch", *sizes[name]))
    if head is None:
        _write_nodes(model.graph, graph, weights, part=part)
    else:
        _write_nodes(model.graph, graph, weights, part=part, logits=own_logits(readout))
        write_readout(model.graph, readout, exit=head, exits=len(graph.exits), classes=graph.num_classes)
    data: bytes = model.SerializeToString()
    return data


def shipped_segments(graph: Graph) -> tuple[Segment, ...]:
    """The segments that become files: the image is an input like any other, and idle trunks are left out."""
    return tuple(part for part in map(_as_shipped, graph.segments()) if part.outputs)


def tensor_names(
    graph: Graph, segment: Segment, readout: Readout | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of what a segment reads and of what it makes."""
    inputs = tuple(_tensor_name(graph, position) for position in segment.inputs)
    if segment.name.startswith("trunk"):
        return inputs, tuple(_tensor_name(graph, position) for position in segment.outputs)
    if _head_exit(segment) is None:
        return inputs, (LOGITS,)
    if readout is None or not readout.remembers:
        return inputs, (LOGITS, CONFIDENCE)
    return (*inputs, STATE), (LOGITS, CONFIDENCE, NEXT_STATE)


def _head_exit(segment: Segment) -> int | None:
    """The exit of which a segment is the head."""
    kind, exit = segment.name.split("_")
    return int(exit) if kind == "head" else None


def _sizes(graph: Graph, part: Segment) -> dict[str, tuple[int, ...]]:
    """Sizes of all that a segment may read or make, without the batch."""
    positions = (*part.inputs, *part.outputs)
    classes = graph.num_classes
    return {_tensor_name(graph, position): graph.layers[position].shape for position in positions} | {
        LOGITS: (classes,),
        CONFIDENCE: (),
        STATE: (classes + 1,),
        NEXT_STATE: (classes + 1,),
    }


def _as_shipped(segment: Segment) -> Segment:
    """The segment with the image, position 0, as an input that nothing makes."""
    inputs = (0, *segment.inputs) if 0 in segment.nodes else segment.inputs
    nodes, outputs = (tuple(filter(None, positions)) for positions in (segment.nodes, segment.outputs))
    return replace(segment, nodes=nodes, inputs=inputs, outputs=outputs)


def _whole(graph: Graph, exit: int) -> Segment:
    """Trunks 0 to `exit` and its head as one piece."""
    if not 0 <= exit < len(graph.exits):
        raise IndexError(f"exit must be 0 to {len(graph.exits) - 1}, but got {exit}")
    nodes = (p for p, feeds in enumerate(graph.feeds) if p and graph.runs(feeds, exit))
    return Segment(f"exit_{exit}", tuple(nodes), (0,), (graph.exits[exit],))


def _tensor_name(graph: Graph, position: int) -> str:
    name = graph.nodes[position].name if position else IMAGE
    return f"{name}/feature" if position and name in RESERVED else name


def _write_nodes(
    proto: GraphProto, graph: Graph, weights: Weights, *, part: Segment, logits: str = LOGITS
) -> None:
    names = {position: _tensor_name(graph, position) for position in part.inputs}
    ends = not part.name.startswith("trunk")
    made = {position: logits if ends else _tensor_name(graph, position) for position in part.outputs}
    norms = _foldable(graph, part)
    folded = set(norms.values())
    for position in part.nodes:
        node = graph.nodes[position]
        sources = tuple(names[source] for source in node.inputs)
        if position in folded or (isinstance(node.op, Dropout) and position not in made):
            (names[position],) = sources
            continue
        result = norms.get(position, position)
        own = _own_weights(node, weights)
        if result != position:
            own = _folded(own, graph.nodes[result], weights)
        output = names[position] = made.get(result) or _tensor_name(graph, result)
        onnx_nodes(node.op, LayerWriter(node, sources, output, weights=own, proto=proto))
    for position in {*part.inputs} & {*part.outputs}:  # a head that has nothing to add
        proto.node.add(op_type="Identity", input=[names[position]], output=[made[position]])


def _foldable(graph: Graph, part: Segment) -> dict[int, int]:
    """Position of a convolution or linear layer to that of the batch normalization that alone reads it."""
    readers = Counter(source for position in part.nodes for source in graph.nodes[position].inputs)
    readers.update(part.outputs)
    inside = {p for p in part.nodes if isinstance(graph.layers[p].op, Conv2d | Linear) and readers[p] == 1}
    norms = (p for p in part.nodes if isinstance(graph.layers[p].op, BatchNorm))
    return {source: p for p in norms if (source := graph.nodes[p].inputs[0]) in inside}


def _own_weights(node: Node, weights: Weights) -> dict[str, NDArray[np.float32]]:
    own = {}
    for name, shape in {**node.layer.weights, **node.layer.buffers}.items():
        value = weights.get(f"{node.name}.{name}")
        if value is None or value.shape != shape:
            got = "none" if value is None else value.shape
            raise SpaceError(
                f"weights must hold {node.name}.{name} of shape {shape}, but got {got}; "
                "take them from the model of this graph"
            )
        own[name] = value
    return own


def _folded(own: Weights, norm: Node, weights: Weights) -> dict[str, NDArray[Any]]:
    """A layer's weights with the batch normalization after it multiplied in, computed in double precision."""
    assert isinstance(norm.op, BatchNorm)
    stored = {name: value.astype(np.float64) for name, value in _own_weights(norm, weights).items()}
    scale = stored["weight"] / np.sqrt(stored["running_var"] + norm.op.eps)
    weight = own["weight"]
    return {
        "weight": weight * scale.reshape(-1, *[1] * (weight.ndim - 1)),
        "bias": stored["bias"] + (own.get("bias", 0) - stored["running_mean"]) * scale,
    }
