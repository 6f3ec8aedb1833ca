"""Time the segments of a network on a target: the form that ships, so the milliseconds that a user will see.

Batch size 1 everywhere, one segment after another, as `nas.runtime` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.bundle import IMAGE, Latency, exit_segments
from nas.graph import Graph, Segment
from nas.latency.target import Target
from nas.onnx import Weights, onnx_model, random_weights, shipped_segments, tensor_names

__all__ = ["exit_models", "measure_exit", "measure_exits", "measure_segment"]


def measure_exits(
    target: Target, graph: Graph, weights: Weights | None = None, *, seconds: float = 2.0
) -> tuple[Latency, ...]:
    """Latency of every exit, each measured by itself for at most about so many seconds.

    Random weights stand in for missing ones.
    """
    weights = random_weights(graph) if weights is None else weights
    exits = range(len(graph.exits))
    return tuple(measure_exit(target, graph, exit, weights, seconds=seconds) for exit in exits)


def measure_exit(
    target: Target,
    graph: Graph,
    exit: int | None = None,
    weights: Weights | None = None,
    *,
    seconds: float = 2.0,
) -> Latency:
    """Latency of one exit, by default the last: of its trunks and its head, and nothing else.

    Other heads do not run meanwhile, for their weights would displace those of this exit from the caches.
    """
    last = len(graph.exits) - 1
    exit = last if exit is None else exit
    if not 0 <= exit <= last:
        raise IndexError(f"exit must be 0 to {last}, but got {exit}")
    weights = random_weights(graph) if weights is None else weights
    segments = shipped_segments(graph)
    chosen = exit_models([segment.name for segment in segments], exit)
    models = [onnx_model(graph, weights, segments[number]) for number in chosen]
    image = _random_feature(graph, 0, np.random.default_rng(0))
    return target.time(models, {IMAGE: image}, seconds=seconds).latency()


def exit_models(names: Sequence[str], exit: int) -> list[int]:
    """Which of the named segments run for an exit. A trunk with nothing to do is not among them."""
    wanted = exit_segments(exit)
    return [number for number, name in enumerate(names) if name in wanted]


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
