"""Write a network for ExecuTorch, the runtime of torch for phones and boards.

What its XNNPACK kernels cannot do runs in its portable ones. A file takes one image at a time.
https://docs.pytorch.org/executorch
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from nas.bundle import exit_segments
from nas.errors import BundleError, MissingExtraError
from nas.files import whole_file
from nas.graph import Segment
from nas.model import Model
from nas.model.layers import Normalize
from nas.onnx import shipped_segments

__all__ = ["write_executorch"]

_TOLERANCE = 1e-3  # of the largest logit; single precision differs by about 1e-6
_IMAGES = 4


def write_executorch(model: Model, path: str | Path, *, exit: int | None = None) -> Path:
    """Write all segments of a network, or one exit as a whole, to a .pte file; return its place.

    A segment is a method of its name, `trunk_0`, `head_0`, `trunk_1` and so on, which reads and makes what it
    does in a bundle, in the same order, but of a head the logits only. A whole exit is the method `forward`
    from image to logits. The image is (1, C, H, W) in raw bytes. The file is run before it is kept:
    `BundleError` where its logits are not those of the network.
    """
    exits = len(model.graph.exits)
    if exit is not None and not 0 <= exit < exits:
        raise BundleError(f"exit must be from 0 to {exits - 1}, but got {exit}; name an exit of the network")
    copy = Model(model.graph)
    copy.set_weights(model.weights())
    copy.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    parts = _parts(copy, exit)
    content = _program(parts, torch.zeros(1, *model.graph.input_shape, dtype=torch.uint8))
    _check(content, parts, copy, range(exits) if exit is None else [exit])
    with whole_file(Path(path)) as unfinished:
        unfinished.write_bytes(content)
    return Path(path)


@final
class _Part(nn.Module):
    """Segments run one after another, from the features at some positions of the graph to those at others."""

    def __init__(self, model: Model, segments: Sequence[Segment]) -> None:
        super().__init__()
        nodes = model.graph.nodes
        layers = {
            name: _Normalize(layer) if isinstance(layer, Normalize) else layer
            for name, layer in model.named_modules()
        }
        self.reads, self.makes = segments[0].inputs, segments[-1].outputs
        self.steps = [(p, nodes[p].inputs) for segment in segments for p in segment.nodes]
        self.layers = nn.ModuleList([layers[nodes[position].name] for position, _ in self.steps])

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        made = dict(zip(self.reads, features, strict=True))
        for (position, sources), layer in zip(self.steps, self.layers, strict=True):
            made[position] = layer(*[made[source] for source in sources])
        return tuple([made[position].contiguous() for position in self.makes])


@final
class _Normalize(nn.Module):
    """The same without channels_last: ExecuTorch cannot bring images of one channel into it."""

    mean: Tensor
    std: Tensor

    def __init__(self, layer: Normalize) -> None:
        super().__init__()
        self.register_buffer("mean", layer.mean[:, None, None])
        self.register_buffer("std", layer.std[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.float32) - self.mean) / self.std


def _parts(model: Model, exit: int | None) -> dict[str, _Part]:
    """The methods of the file."""
    segments = shipped_segments(model.graph)
    if exit is None:
        return {segment.name: _Part(model, [segment]) for segment in segments}
    wanted = exit_segments(exit)
    return {"forward": _Part(model, [segment for segment in segments if segment.name in wanted])}


def _program(parts: Mapping[str, _Part], image: Tensor) -> bytes:
    """The contents of the file."""
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    except ImportError as error:
        raise MissingExtraError.of("executorch", "executorch") from error
    made, programs = {0: image}, {}
    for name, part in parts.items():
        features = tuple([made[position] for position in part.reads])
        programs[name] = torch.export.export(part, features)
        with torch.no_grad():
            made.update(zip(part.makes, part(*features), strict=True))
    lowered = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _check(content: bytes, parts: Mapping[str, _Part], model: Model, exits: Iterable[int]) -> None:
    """`BundleError` unless the file gives the logits of the network on random images."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(content)
    methods = {name: program.load_method(name) for name in parts}
    rng = np.random.default_rng(0)
    for _ in range(_IMAGES):
        image = torch.from_numpy(rng.integers(0, 256, (1, *model.graph.input_shape), np.uint8))
        with torch.no_grad():
            expected = model(image)
        made = {0: image}
        for name, part in parts.items():
            answer = methods[name].execute([made[position] for position in part.reads])
            made.update(zip(part.makes, [tensor.clone() for tensor in answer], strict=True))
        for exit in exits:
            apart = float((made[model.graph.exits[exit]] - expected[exit]).abs().max())
            allowed = _TOLERANCE * float(expected[exit].abs().max())
            if not apart <= allowed:  # which NaN is not either
                raise BundleError(
                    f"exported logits must equal the model's within {allowed:.2g}, but those of exit {exit} "
                    f"differ by {apart:.2g}; check that its weights are finite"
                )
