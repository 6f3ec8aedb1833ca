"""Time the segments of a network on a target: the form that ships, so the milliseconds that a user will see.

Batch size 1 everywhere, each segment by one plain call, as `nas.runtime` runs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Latency
from nas.graph import Graph, Segment
from nas.latency.target import Target
from nas.onnx import Weights, onnx_model, random_weights, shipped_segments, tensor_names

__all__ = ["measure_exits", "measure_segment"]


def measure_exits(
    target: Target, graph: Graph, weights: Weights | None = None, *, seconds: float = 0.2
) -> tuple[Latency, ...]:
    """Latency of every exit: the sums over trunks 0 to k and head k, each timed once for so many seconds.

    A sum of 95th percentiles is an upper estimate; `spread` is that of the most unsteady segment, `runs` the
    fewest of any. Random weights stand in for missing ones.
    """
    weights = random_weights(graph) if weights is None else weights
    timed = {
        segment.name: measure_segment(target, graph, segment, weights=weights, seconds=seconds)
        for segment in shipped_segments(graph)
    }
    sums = []
    for exit in range(len(graph.exits)):
        names = [f"trunk_{k}" for k in range(exit + 1)] + [f"head_{exit}"]
        parts = [timed[name] for name in names if name in timed]
        sums.append(
            Latency(
                p50_ms=sum(part.p50_ms for part in parts),
                p95_ms=sum(part.p95_ms for part in parts),
                spread=max(part.spread for part in parts),
                runs=min(part.runs for part in parts),
                target=target.identity,
            )
        )
    return tuple(sums)


def measure_segment(
    target: Target, graph: Graph, segment: Segment, *, weights: Weights, seconds: float
) -> Latency:
    """Latency of one piece of a network on random features."""
    names, _ = tensor_names(graph, segment)
    rng = np.random.default_rng(0)
    inputs = {
        name: _random_feature(graph, position, rng)
        for name, position in zip(names, segment.inputs, strict=True)
    }
    return target.measure(onnx_model(graph, weights, segment), inputs, seconds=seconds)


def _random_feature(graph: Graph, position: int, rng: np.random.Generator) -> NDArray[Any]:
    shape = (1, *graph.layers[position].shape)
    return rng.standard_normal(shape, np.float32) if position else rng.integers(0, 256, shape, np.uint8)
