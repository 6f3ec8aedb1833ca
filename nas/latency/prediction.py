"""What predicts milliseconds, how far off it was on networks left out, and how wide its interval must be.

The interval is a conformal one (Vovk et al., Algorithmic Learning in a Random World; CV+ of Barber et al.,
https://arxiv.org/abs/1905.02928): it is as wide as the errors on networks that were left out of the fit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.errors import TargetError
from nas.graph import Graph

__all__ = [
    "LEAST_NETWORKS",
    "Errors",
    "Intervals",
    "Predictor",
    "Sample",
    "are_last_exits",
    "check_enough",
]

COVERAGE = 0.9
LEAST_NETWORKS = 3


@final
@dataclass(frozen=True)
class Sample:
    """A measured network: milliseconds to some of its exits, by number."""

    graph: Graph
    exits_ms: Mapping[int, float]


@final
@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors on networks that were left out of the fit: the last exits, each network once."""

    mean_ratio: float
    """Mean of |predicted / measured - 1|."""
    within_10_ratio: float
    """Share of networks predicted within 10 %."""
    spearman: float
    networks: int

    @staticmethod
    def of(predicted_ms: NDArray[np.float64], measured_ms: NDArray[np.float64]) -> Errors:
        ratios = np.abs(predicted_ms / measured_ms - 1)
        ranks = [np.argsort(np.argsort(values)) for values in (predicted_ms, measured_ms)]
        return Errors(
            mean_ratio=float(ratios.mean()),
            within_10_ratio=float((ratios <= 0.1).mean()),
            spearman=float(np.corrcoef(ranks[0], ranks[1])[0, 1]),
            networks=len(ratios),
        )


@final
@dataclass(frozen=True)
class Intervals:
    """True times are the predicted ones divided or multiplied by these at most, 9 times in 10.

    Infinite where fewer than nine networks were measured.
    """

    last_ratio: float
    """At the last exit."""
    early_ratio: float
    """At exits before it."""

    def __post_init__(self) -> None:
        if not (self.last_ratio >= 1 and self.early_ratio >= 1):
            raise ValueError(f"the interval's ratios must be at least 1, but are {self}")

    @staticmethod
    def of(
        predicted_ms: NDArray[np.float64], measured_ms: NDArray[np.float64], last: NDArray[np.bool_]
    ) -> Intervals:
        """The least ratios that cover the stated share of these errors; `last` tells last exits."""
        ratios = predicted_ms / measured_ms
        return Intervals(_covering(ratios[last]), _covering(ratios[~last]))

    def to_json(self) -> dict[str, float | None]:
        ratios = {"last": self.last_ratio, "early": self.early_ratio}
        return {name: ratio if math.isfinite(ratio) else None for name, ratio in ratios.items()}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Intervals:
        """`ValueError`, `KeyError` or `TypeError` where these are not the values of `to_json`."""
        return Intervals(
            *(math.inf if values[name] is None else float(values[name]) for name in ("last", "early"))
        )


class Predictor(ABC):
    """Milliseconds of networks on one target, and how far off they may be."""

    target: str
    """Identity of the target."""
    intervals: Intervals
    errors: Errors

    @abstractmethod
    def __call__(self, graph: Graph, exit: int | None = None) -> float:
        """Milliseconds up to one exit, by default the last; infinite where a kind of layer was never seen."""

    @abstractmethod
    def guess(self, graph: Graph, exit: int | None = None) -> float:
        """The same, but kinds of layers never seen count by their MACs, at the rate of all measured ones."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """All there is to know, as plain values."""

    def ratio(self, graph: Graph, exit: int | None = None) -> float:
        """The interval's ratio at an exit."""
        is_early = exit is not None and exit < len(graph.exits) - 1
        return self.intervals.early_ratio if is_early else self.intervals.last_ratio


def are_last_exits(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """For each measured exit of these networks, in order, whether it is the last."""
    return np.array([exit == len(sample.graph.exits) - 1 for sample in samples for exit in sample.exits_ms])


def check_enough(samples: Sequence[Sample]) -> None:
    """`TargetError` for too few networks to learn from."""
    networks = sum(len(sample.graph.exits) - 1 in sample.exits_ms for sample in samples)
    if networks < LEAST_NETWORKS:
        raise TargetError(
            f"a predictor must learn from at least {LEAST_NETWORKS} networks, but got {networks}; "
            "measure longer"
        )


def _covering(ratios: NDArray[np.float64]) -> float:
    """The factor within which the stated share of these errors lies; infinite for too few of them."""
    rank = math.ceil(COVERAGE * (len(ratios) + 1))
    if rank > len(ratios):
        return math.inf
    share = rank / len(ratios)
    return float(np.exp(np.quantile(np.abs(np.log(ratios)), share)))
