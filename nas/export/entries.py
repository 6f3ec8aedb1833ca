"""Turn a trained network into files of a bundle, in fp32 and in int8, with what the bundle says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import (
    EXIT,
    FUSED,
    IMAGE,
    LOGITS,
    MAX_EXIT,
    STATE,
    THRESHOLDS,
    BundleModel,
    Readout,
    SegmentFile,
)
from nas.latency.engine import OnnxRuntime
from nas.model import Model
from nas.onnx import fused_model, onnx_model, quantized_model, shipped_segments, tensor_names
from nas.ops import Normalize
from nas.space import Architecture

__all__ = ["INT8", "Entry", "model_entry", "quantized_entry"]

INT8 = "-int8"
"""What the name of a network in int8 ends with."""

_SAMPLES, _SAMPLE_IMAGES = 4, 32


@final
class Entry:
    """A network on its way into a bundle: its place in bundle.json, and its files by their names there."""

    def __init__(self, model: BundleModel, files: Mapping[str, bytes]) -> None:
        self.model = model
        self.files = dict(files)


def model_entry(
    name: str, model: Model, readout: Readout, *, architecture: Architecture | None = None, fused: bool = True
) -> Entry:
    """The segments of a network with its weights, and all of them fused into one file."""
    graph, weights = model.graph, model.weights()
    segments, files = [], dict[str, bytes]()
    for segment in shipped_segments(graph):
        content = onnx_model(graph, weights, segment, readout=readout)
        inputs, outputs = tensor_names(graph, segment, readout)
        segments.append(_placed(name, segment.name, content, files=files, tensors=(inputs, outputs)))
    entry = BundleModel(
        name=name,
        segments=tuple(segments),
        exits=len(graph.exits),
        architecture={} if architecture is None else architecture.to_json(),
        id=graph.id,
        readout=readout,
        normalization=_normalization(model),
    )
    return _with_fused(Entry(entry, files), model) if fused else Entry(entry, files)


def quantized_entry(entry: Entry, model: Model, images: NDArray[np.uint8]) -> Entry:
    """The same network in int8, with the values on some training images to go by."""
    name = entry.model.name + INT8
    segments, files = [], dict[str, bytes]()
    for segment, content in _quantized(entry, model, images):
        tensors = segment.inputs, segment.outputs
        segments.append(_placed(name, segment.name, content, files=files, tensors=tensors))
    quantized = replace(entry.model, name=name, segments=tuple(segments), precision="int8", fused=None)
    result = Entry(quantized, files)
    return _with_fused(result, model) if entry.model.fused else result


def _quantized(entry: Entry, model: Model, images: NDArray[np.uint8]) -> Iterator[tuple[SegmentFile, bytes]]:
    """Each segment in int8, by what the segments before it make in fp32."""
    batches = [images[start : start + _SAMPLE_IMAGES] for start in range(0, len(images), _SAMPLE_IMAGES)]
    samples: list[dict[str, NDArray[np.generic]]] = [{IMAGE: batch} for batch in batches[:_SAMPLES]]
    for sample in samples:
        sample[STATE] = np.zeros((len(sample[IMAGE]), model.graph.num_classes + 1), np.float32)
    for segment in entry.model.segments:
        content = entry.files[segment.file]
        yield segment, quantized_model(content, samples)
        run = OnnxRuntime().open(content)
        for sample in samples:
            sample.update(run(sample))


def _with_fused(entry: Entry, model: Model) -> Entry:
    segments = {segment.name: entry.files[segment.file] for segment in entry.model.segments}
    graph = model.graph
    content = fused_model(segments, entry.model.readout, graph.input_shape, graph.num_classes)
    tensors = (IMAGE, MAX_EXIT, THRESHOLDS), (LOGITS, EXIT)
    files = dict(entry.files)
    file = _placed(entry.model.name, FUSED, content, files=files, tensors=tensors)
    return Entry(replace(entry.model, fused=file), files)


def _placed(
    model: str,
    name: str,
    content: bytes,
    *,
    files: dict[str, bytes],
    tensors: tuple[tuple[str, ...], tuple[str, ...]],
) -> SegmentFile:
    """What bundle.json says of a file, which is put among the others."""
    file, (inputs, outputs) = f"models/{model}/{name}.onnx", tensors
    files[file] = content
    digest = hashlib.sha256(content).hexdigest()
    return SegmentFile(name=name, file=file, sha256=digest, inputs=inputs, outputs=outputs)


def _normalization(model: Model) -> dict[str, tuple[float, ...]]:
    nodes = (node for node in model.graph.nodes if isinstance(node.op, Normalize))
    weights = model.weights()
    return {
        name: tuple(weights[f"{node.name}.{name}"].tolist()) for node in nodes for name in ("mean", "std")
    }
