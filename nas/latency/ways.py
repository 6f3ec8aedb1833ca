"""What a level takes whose images leave at different exits: its ways, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

from nas.bundle import Latency, Level

__all__ = ["Way", "mean_latency", "ways_of"]


@final
class Way(NamedTuple):
    """Through one model to an exit, with the exits that are asked before."""

    model: str
    exit: int
    asked: tuple[int, ...] = ()


def ways_of(level: Level) -> dict[Way, float]:
    """The ways of a level and what share of the images takes each, the longest last.

    Without shares all take the longest.
    """
    limits = (level.thresholds or ())[: level.exit]
    asked = [exit for exit, limit in enumerate(limits) if limit <= 1]
    shares = dict(enumerate(level.shares or ())) if level.shares else {level.exit: 1.0}
    return {
        Way(level.model, exit, tuple(before for before in asked if before < exit)): shares.get(exit, 0.0)
        for exit in sorted({*asked, level.exit})
        if shares.get(exit, 0.0) or exit == level.exit
    }


def mean_latency(ways: Mapping[Way, float], measured: Mapping[Way, Latency]) -> Latency:
    """Of an image on average; what tells of single runs, such as the 95th percentile, is of the longest."""
    longest = measured[list(ways)[-1]]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        pairs = zip(known, ways.values(), strict=True)
        return sum(value * share for value, share in pairs) if len(known) == len(ways) else None

    each = [measured[way] for way in ways]
    p50_ms = mean([latency.p50_ms for latency in each])
    assert p50_ms is not None, "every latency has a median"
    energy_mj = mean([latency.energy_mj for latency in each])
    return Latency(
        p50_ms=p50_ms,
        p95_ms=longest.p95_ms,
        spread=longest.spread,
        runs=longest.runs,
        target=longest.target,
        low_ms=mean([latency.low_ms for latency in each]),
        high_ms=mean([latency.high_ms for latency in each]),
        slowdown=longest.slowdown,
        power_w=None if energy_mj is None else energy_mj / p50_ms,
    )
