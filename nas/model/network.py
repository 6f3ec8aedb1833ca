"""Runs a `Graph` in torch: its layers with weights, one logits tensor per exit.

Between the places where features branch or join, layers follow one another without any look-up, so that a
graph costs no speed. Everything is kept in torch's channels_last memory format, which trains faster on
CPUs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.errors import SpaceError
from nas.graph import Graph
from nas.model.layers import Normalize, torch_layer
from nas.ops import Activation, BatchNorm, Conv2d, Linear
from nas.stored import graph_from_json, graph_to_json, read_tensors, write_tensors

__all__ = ["Model"]

FILE_FORMAT = "nas-model-1"


@final
class Model(nn.Module):
    """The layers of a graph with weights, under the graph's names: `stage1.block0.conv.weight`.

    Weights are drawn from `seed` in the graph's canonical order: graphs with the same id start equal, however
    they were written. The state of torch's random generator does not change.
    """

    graph: Graph

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        super().__init__()
        self.graph = graph
        layers = _draw_layers(graph, seed)
        for node in sorted(graph.nodes[1:], key=lambda node: node.name.count(".")):
            _place(self, node.name, layers[node.name])
        self._steps, self._results = _plan(graph, layers)
        _check_tensors(graph, {key: value.shape for key, value in self._tensors().items()})
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits (N, K) of every exit from images (N, C, H, W): unsigned bytes, or floats from 0 to 255."""
        features: list[Any] = [x]
        for first, others, reads, dead in self._steps:
            x = first(*[features[read] for read in reads])
            for layer in others:
                x = layer(x)
            features.append(x)
            for index in dead:
                features[index] = None  # its memory is free for the next layers
        return tuple([features[result] for result in self._results])

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize images by these values per channel, in units of the raw image (0 to 255)."""
        channels = self.graph.input_shape[0]
        if not len(mean) == len(std) == channels or not all(value > 0 for value in std):
            raise SpaceError(
                f"mean and std must have {channels} values with std > 0, but got {mean=}, {std=}; "
                "take them from the data"
            )
        for module in self.modules():
            if isinstance(module, Normalize):
                module.mean.copy_(torch.tensor(mean))
                module.std.copy_(torch.tensor(std))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all tensors that the graph declares, trained or not, by their names in the state dict."""
        tensors = {key: value.cpu().numpy() for key, value in self._tensors().items()}
        return {key: np.array(value, np.float32, order="C") for key, value in tensors.items()}

    def set_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over what `weights` of an equal graph gave."""
        _check_tensors(self.graph, {key: value.shape for key, value in weights.items()})
        for key, value in self._tensors().items():
            value.copy_(torch.tensor(weights[key]))

    def save(self, path: Path) -> None:
        """Write graph and weights to one safetensors file."""
        write_tensors(Path(path), self.weights(), FILE_FORMAT, {"graph": graph_to_json(self.graph)})

    @staticmethod
    def load(path: Path) -> Model:
        """The model that `save` wrote."""
        weights, values = read_tensors(Path(path), FILE_FORMAT)
        model = Model(graph_from_json(values.get("graph", {})))
        model.set_weights(weights)
        return model

    def _tensors(self) -> dict[str, Tensor]:
        """The tensors in the state dict but batch normalization's count of batches, which nothing reads."""
        return {
            key: value for key, value in self.state_dict().items() if not key.endswith("num_batches_tracked")
        }


@final
class _Step(NamedTuple):
    """Layers run in turn: the first on features read by index, each other on the result before it."""

    first: nn.Module
    others: tuple[nn.Module, ...]
    reads: tuple[int, ...]
    dead: tuple[int, ...]
    """Features that nothing reads later."""


def _plan(graph: Graph, layers: Mapping[str, nn.Module]) -> tuple[tuple[_Step, ...], tuple[int, ...]]:
    """The steps of a graph, and which features are logits.

    Feature 0 is the image, i + 1 the result of step i.
    """
    nodes = iter(graph.nodes)
    chains = [[next(nodes) for _ in chain.layers] for chain in graph.chains]
    ends = list(accumulate([chain.length for chain in graph.chains]))
    results = tuple(ends.index(exit + 1) + 1 for exit in graph.exits)
    reads = [tuple(operand + 1 for operand in operands) or (0,) for operands in graph.operands]
    last_read = {feature: step for step, features in enumerate(reads) for feature in features}
    steps = []
    for step, chain in enumerate(chains):
        for before, after in pairwise(chain):
            # The backward passes of these need their input, not their result, which may hence be overwritten.
            if isinstance(before.op, Conv2d | BatchNorm | Linear) and isinstance(after.op, Activation):
                layers[after.name].inplace = True  # type: ignore[assignment]
        first, *others = [layers[node.name] for node in chain]
        dead = tuple({read for read in reads[step] if last_read[read] == step and read not in results})
        steps.append(_Step(first, tuple(others), reads[step], dead))
    return tuple(steps), results


def _draw_layers(graph: Graph, seed: int) -> dict[str, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nodes = [graph.nodes[position] for position in graph.canonical_order]
        return {node.name: torch_layer(node.op, *node.layer.in_shapes) for node in nodes}


def _place(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Make `layer` the submodule of that dotted name."""
    *scopes, last = name.split(".")
    for scope in scopes:
        # Not add_module, which refuses names of torch's methods: a stage may be called `half` or `type`.
        root = root._modules.setdefault(scope, nn.Module())  # type: ignore[assignment]
    root._modules[last] = layer


def _check_tensors(graph: Graph, found: Mapping[str, Sequence[int]]) -> None:
    expected = {
        f"{node.name}.{key}": tuple(shape)
        for node in graph.nodes
        for key, shape in (*node.layer.weights.items(), *node.layer.buffers.items())
    }
    for key in sorted(expected.keys() | found.keys()):
        shape = tuple(found[key]) if key in found else "none"
        if shape != expected.get(key, "none"):
            raise SpaceError(
                f"tensor {key} must have shape {expected.get(key, 'none')}, but has {shape}; "
                "give the weights of this graph"
            )
