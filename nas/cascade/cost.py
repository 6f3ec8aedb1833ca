"""What it costs to leave a network at each of its exits, with the heads that were asked on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from nas.errors import SpaceError
from nas.graph import Graph

__all__ = ["CascadeCost"]


@final
@dataclass(frozen=True)
class CascadeCost:
    """Costs of one image in each part of a network with K exits: trunks (K,) and heads (K,).

    An image that leaves at exit k has paid trunks 0 to k, head k, and those heads before it that were asked.
    """

    metric: str
    """A name in `nas.metric.METRICS`, which has the unit: `macs`, `latency_ms`, `energy_mj`."""
    trunks: tuple[float, ...]
    heads: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.trunks) == len(self.heads) > 0:
            raise SpaceError(
                f"a network must have as many trunks as heads, but got {len(self.trunks)} and "
                f"{len(self.heads)} costs; give one of each per exit"
            )
        if not all(0 <= cost < np.inf for cost in (*self.trunks, *self.heads)) or not self.least:
            raise SpaceError(
                f"costs must be finite, at least 0, and above 0 for the first exit, but got {self}; "
                "measure them again"
            )

    @classmethod
    def of_graph(cls, graph: Graph) -> Self:
        """The MACs of each part, exactly."""
        macs = {
            segment.name: sum(graph.layers[position].macs for position in segment.nodes)
            for segment in graph.segments()
        }
        exits = range(len(graph.exits))
        return cls("macs", *(tuple(macs[f"{kind}_{k}"] for k in exits) for kind in ("trunk", "head")))

    @classmethod
    def of_paths(cls, metric: str, alone: Sequence[float], asking: Sequence[float]) -> Self:
        """From measured costs of whole paths: to exit k with its head alone, and asking all heads before it.

        The last head always runs with its trunk, of which it is counted as a part.
        """
        if not len(alone) == len(asking) > 0:
            raise SpaceError(
                f"both paths must be measured for each exit, but got {len(alone)} and {len(asking)}; "
                "measure the others"
            )
        if not np.isfinite([*alone, *asking]).all():
            raise SpaceError(f"costs must be finite, but got {alone} and {asking}; measure them again")
        before = np.maximum.accumulate(np.maximum(0.0, np.subtract(asking, alone)))  # heads before exit k
        told = [max(0.0, after - cost) for cost, after in pairwise(before)]
        heads = [min(head, one) for head, one in zip([*told, 0.0], alone, strict=True)]
        reached = np.maximum.accumulate(np.subtract(alone, heads))
        trunks = np.diff(reached, prepend=0.0)
        return cls(metric, tuple(trunks.tolist()), tuple(heads))

    @property
    def exits(self) -> int:
        return len(self.trunks)

    @property
    def least(self) -> float:
        """Of an image that leaves at the first exit."""
        return self.trunks[0] + self.heads[0]

    def leaving(self, asked: Sequence[bool]) -> NDArray[np.float64]:
        """Of leaving at each exit, (K,), where of the exits but the last these are asked on the way."""
        paid = np.append([0.0], np.cumsum(np.where(asked, self.heads[:-1], 0.0)))
        total: NDArray[np.float64] = np.cumsum(self.trunks) + paid + np.array(self.heads)
        return total

    def scaled(self, metric: str, factor: float, once: float = 0.0) -> Self:
        """The same in terms of another metric: `factor` times, and so much `once` per image."""
        first, *further = (factor * cost for cost in self.trunks)
        return type(self)(metric, (first + once, *further), tuple(factor * cost for cost in self.heads))
