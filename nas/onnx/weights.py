"""Weights for a network that has none yet, so that it can be measured."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nas.graph import Graph

__all__ = ["random_weights"]


def random_weights(
    graph: Graph, seed: int = 0, *, positions: Iterable[int] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Weights of all nodes, or of those at some positions, with which features keep their size.

    Otherwise numbers too small for the processor's fast path would make an untrained network look slow. The
    scale is that of He et al. (https://arxiv.org/abs/1502.01852).
    """
    rng = np.random.default_rng(seed)
    flat = {"bias": 0.0, "running_mean": 0.0, "mean": 127.5, "std": 64.0}
    weights = {}
    for node in graph.nodes if positions is None else map(graph.nodes.__getitem__, positions):
        for name, shape in {**node.layer.weights, **node.layer.buffers}.items():
            if len(shape) > 1:
                value = rng.standard_normal(shape, np.float32)
                value *= math.sqrt(2 / math.prod(shape[1:]))
            else:
                value = np.full(shape, flat.get(name, 1.0), np.float32)
            weights[f"{node.name}.{name}"] = value
    return weights
