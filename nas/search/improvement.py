"""How much a network is expected to add to a front whose costs are known and whose other losses are believed.

The gain is that of hypervolume (Emmerich, Giannakoglou and Naujoks, https://doi.org/10.1109/TEVC.2005.851239).
Costs being known, with one learned loss it is a sum over the cells that the front cuts the costs into, of
volume times the expected improvement over the least loss that the front has there. With no cost this is the
expected improvement of one loss. With several learned losses it is a mean over directions (Zhang and Golovin,
Random hypervolume scalarizations, ICML 2020), which is exact for enough of them.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.random import Generator

from nas.search.encoding import Array

__all__ = ["Cells", "Directions", "nodes"]

_NODES = 16
_DIRECTIONS = 128
_CHUNK = 1 << 24  # numbers in memory at a time


def nodes() -> tuple[Array, Array]:
    """Values of a standard normal variable and their weights, for a mean over it (Gauss and Hermite)."""
    values, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return values, weights / weights.sum()


@final
class Cells:
    """The gain where one loss is learned: the costs cut into boxes by those of the front.

    `front` is `(networks, objectives)`, `reference` `(objectives,)`: the learned loss first, then the costs.
    """

    def __init__(self, front: Array, reference: Array) -> None:
        inside = front[(front < reference).all(1)]
        self._edges = [
            np.concatenate([[-np.inf], np.unique(inside[:, 1 + axis]), [most]])
            for axis, most in enumerate(reference[1:])
        ]
        levels = np.full([len(edges) - 1 for edges in self._edges], reference[0])
        for loss, *costs in inside:
            corner = tuple(
                slice(np.searchsorted(edges, cost), None)
                for edges, cost in zip(self._edges, costs, strict=True)
            )
            levels[corner] = np.minimum(levels[corner], loss)
        self._levels, place = np.unique(levels, return_inverse=True)
        self._place = place.ravel()

    def gain(self, losses: Array, weights: Array, costs: Array) -> Array:
        """Of candidates with losses `(candidates, nodes)`, weighted by node, and `(candidates, costs)`."""
        gain = np.zeros(len(losses))
        rows = max(1, _CHUNK // max(len(self._place), len(self._levels) * len(weights)))
        for start in range(0, len(losses), rows):
            part = slice(start, start + rows)
            better = np.maximum(self._levels[None, :, None] - losses[part, None, :], 0) @ weights
            gain[part] = (self._volumes(costs[part]) * better[:, self._place]).sum(1)
        return gain

    def _volumes(self, costs: Array) -> Array:
        """`(candidates, boxes)`: of each box what costs at least as much as the candidate."""
        volumes = np.ones((len(costs), 1))
        for edges, cost in zip(self._edges, costs.T, strict=True):
            widths = np.maximum(edges[None, 1:] - np.maximum(edges[None, :-1], cost[:, None]), 0)
            volumes = (volumes[:, :, None] * widths[:, None, :]).reshape(len(costs), -1)
        return volumes


@final
class Directions:
    """The gain where several losses are learned, up to a factor: a mean over directions drawn at random.

    `front` and `reference` as in `Cells`, with any number of learned losses.
    """

    def __init__(self, front: Array, reference: Array, rng: Generator) -> None:
        self._reference = reference
        self._scale = np.maximum(reference - front.min(0), 1e-12)
        directions = np.abs(rng.standard_normal((_DIRECTIONS, len(reference))))
        self._directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self._best = [self._reach(front, direction).max(initial=0) for direction in self._directions]

    def gain(self, draws: Array) -> Array:
        """Of candidates with draws `(candidates, draws, objectives)`, all equally likely."""
        gain = np.zeros(len(draws))
        for direction, best in zip(self._directions, self._best, strict=True):
            gain += np.maximum(self._reach(draws, direction) - best, 0).mean(1)
        return gain / len(self._directions)

    def _reach(self, points: Array, direction: Array) -> Array:
        """The share of the volume along a direction that each point dominates."""
        distance = ((self._reference - points) / self._scale / direction).min(-1)
        result: Array = np.maximum(distance, 0) ** len(self._reference)
        return result
