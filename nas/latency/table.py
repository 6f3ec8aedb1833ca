"""Predict the latency of thousands of networks from a table of measured layers, filled when one is first met.

The layer table of ProxylessNAS (https://arxiv.org/abs/1812.00332) and FBNet
(https://arxiv.org/abs/1812.03443), measured in the runtime that ships.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

from nas.errors import TargetError
from nas.files import save_json
from nas.graph import Graph, Segment
from nas.latency.segments import measure_segment
from nas.latency.target import Target
from nas.onnx import random_weights
from nas.op import Layer
from nas.ops import Activation, BatchNorm, Conv2d, Dropout, Input, Linear
from nas.space import Candidate

__all__ = ["LatencyTable"]

_FORMAT = "nas-dial-latency-table"
_VERSION = 3  # times of calls tied to arrays, and of heads that say how sure they are
_CALL, _READOUT = "call", "readout"


@final
class LatencyTable:
    """Milliseconds of a network as the sum of its layers; a layer is measured once, for `seconds`.

    A convolution or linear layer counts as one with the normalization and activation that alone follow it,
    because runtimes fuse them. What a call of the runtime costs is taken off every entry, and added once per
    segment; the read-out of a head is an entry too. With a `path`, entries are kept in a JSON file, which
    belongs to one target. It is written once its folder exists, so that a search that cannot start leaves
    nothing behind.
    """

    def __init__(self, target: Target, path: str | Path | None = None, *, seconds: float = 0.02) -> None:
        self.target = target
        self._path = None if path is None else Path(path)
        self._seconds = seconds
        self._entries_ms = self._stored()
        self._kept = len(self._entries_ms)
        self._known_ms: dict[tuple[Layer, ...], float] = {}

    def __call__(self, candidate: Candidate | Graph, exit: int | None = None) -> float:
        """Milliseconds up to one exit, by default the last."""
        graph = candidate if isinstance(candidate, Graph) else candidate.graph
        last = len(graph.exits) - 1
        exit = last if exit is None else exit
        if not 0 <= exit <= last:
            raise IndexError(f"exit must be 0 to {last}, but got {exit}")
        segments = exit + 2  # trunks 0 to exit, and a head
        total_ms = segments * self._call_ms(graph) + self._readout_ms(graph)
        for group in _fused_groups(graph):
            if graph.runs(graph.feeds[group[0]], exit):
                total_ms += self._group_ms(graph, group)
        if len(self._entries_ms) > self._kept:
            self._store()
        return total_ms

    def _group_ms(self, graph: Graph, group: tuple[int, ...]) -> float:
        layers = tuple(graph.layers[position] for position in group)
        known_ms = self._known_ms.get(layers)
        if known_ms is None:
            key = " > ".join(f"{type(layer.op).__module__}.{layer.op}{layer.in_shapes}" for layer in layers)
            if key not in self._entries_ms:
                sources = {source for p in group for source in graph.nodes[p].inputs} - set(group)
                part = Segment("trunk_part", group, tuple(sorted(sources)), group[-1:])
                self._entries_ms[key] = max(0.0, self._measured_ms(graph, part) - self._call_ms(graph))
            known_ms = self._known_ms[layers] = self._entries_ms[key]
        return known_ms

    def _call_ms(self, graph: Graph) -> float:
        """What a run costs that only hands its input on."""
        if _CALL not in self._entries_ms:
            logits = graph.exits[-1:]
            self._entries_ms[_CALL] = self._measured_ms(graph, Segment("call_only", (), logits, logits))
        return self._entries_ms[_CALL]

    def _readout_ms(self, graph: Graph) -> float:
        """What a head costs behind its last layer."""
        if _READOUT not in self._entries_ms:
            logits = graph.exits[:1]
            head_ms = self._measured_ms(graph, Segment("head_0", (), logits, logits))
            self._entries_ms[_READOUT] = max(0.0, head_ms - self._call_ms(graph))
        return self._entries_ms[_READOUT]

    def _measured_ms(self, graph: Graph, part: Segment) -> float:
        weights = random_weights(graph, positions=part.nodes)
        return measure_segment(self.target, graph, part, weights=weights, seconds=self._seconds).p50_ms

    def _stored(self) -> dict[str, float]:
        """The entries in the file, none if there is no file yet."""
        if self._path is None:
            return {}
        try:
            record = json.loads(self._path.read_bytes())
            found = record["format"], record["version"], record["target"]
            entries_ms = {str(key): float(ms) for key, ms in record["entries_ms"].items()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            rule = "must be a complete latency table"
            raise TargetError(f"{self._path} {rule}, but is not: {error!r}; delete it") from error
        expected = _FORMAT, _VERSION, self.target.identity
        if found != expected:
            rule = f"must be a table of {expected}, but is of {found}"
            raise TargetError(f"{self._path} {rule}; delete it or name another")
        if not all(0 <= ms < math.inf for ms in entries_ms.values()):
            raise TargetError(f"{self._path} must hold finite times not below 0, but does not; delete it")
        return entries_ms

    def _store(self) -> None:
        """Write the file whole or not at all, with what other processes have added to it."""
        if self._path is None or not self._path.parent.is_dir():
            return
        self._entries_ms = self._stored() | self._entries_ms
        record: Mapping[str, object] = {
            "format": _FORMAT,
            "version": _VERSION,
            "target": self.target.identity,
            "entries_ms": dict(sorted(self._entries_ms.items())),
        }
        try:
            save_json(self._path, record)
        except OSError as error:
            raise TargetError(f"{self._path} must be writable, but is not: {error}; name another") from error
        self._kept = len(self._entries_ms)


def _fused_groups(graph: Graph) -> Iterator[tuple[int, ...]]:
    """Positions of the layers that a runtime runs as one, for every layer that takes time."""
    readers = Counter(p - back for p, backs in enumerate(graph.offsets) for back in backs)
    readers.update(graph.exits)
    growing: dict[int, tuple[int, ...]] = {}
    for position, (layer, backs) in enumerate(zip(graph.layers, graph.offsets, strict=True)):
        source = position - backs[0] if backs else position
        if isinstance(layer.op, BatchNorm | Activation) and source in growing and readers[source] == 1:
            growing[position] = (*growing.pop(source), position)
        elif isinstance(layer.op, Conv2d | Linear):
            growing[position] = (position,)
        elif not isinstance(layer.op, Input | Dropout):
            yield (position,)
    yield from growing.values()
