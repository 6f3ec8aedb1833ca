"""A level, the unit in which a device turns quality up and down, and the measured time that it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, final

from nas.bundle import fields

__all__ = ["Latency", "Level", "check_dial", "undominated"]


@final
@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one inference on a named target; `spread` is the interquartile range over the median."""

    p50_ms: float
    p95_ms: float
    spread: float
    runs: int
    target: str

    def to_json(self) -> dict[str, Any]:
        """The value as it stands under a key that names the unit, `latency_ms`."""
        return {
            "p50": self.p50_ms,
            "p95": self.p95_ms,
            "spread": self.spread,
            "runs": self.runs,
            "target": self.target,
        }

    @classmethod
    def from_json(cls, record: object, where: str = "latency_ms") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        p50_ms = fields.number(record, "p50", where)
        if p50_ms == 0:
            raise fields.broken(f"{where}.p50", "be above 0, but got 0")
        return cls(
            p50_ms=p50_ms,
            p95_ms=fields.number(record, "p95", where),
            spread=fields.number(record, "spread", where),
            runs=fields.count(record, "runs", where),
            target=fields.field(record, "target", str, where),
        )


@final
@dataclass(frozen=True, kw_only=True)
class Level:
    """One quality setting: a model up to one of its exits, its validation accuracy (0..1) and its costs."""

    model: str
    exit: int
    accuracy: float
    macs: int
    latency: Latency | None = None
    energy_mj: float | None = None
    thresholds: tuple[float, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """The level as an entry of bundle.json."""
        return {
            "model": self.model,
            "exit": self.exit,
            "accuracy": self.accuracy,
            "macs": self.macs,
            "latency_ms": None if self.latency is None else self.latency.to_json(),
            "energy_mj": self.energy_mj,
            "thresholds": None if self.thresholds is None else list(self.thresholds),
        }

    @classmethod
    def from_json(cls, record: object, where: str = "level") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        latency, energy_mj, thresholds = (
            fields.value(record, key, where) for key in ("latency_ms", "energy_mj", "thresholds")
        )
        return cls(
            model=fields.field(record, "model", str, where),
            exit=fields.field(record, "exit", int, where),
            accuracy=fields.number(record, "accuracy", where, high=1),
            macs=fields.count(record, "macs", where),
            latency=None if latency is None else Latency.from_json(latency, f"{where}.latency_ms"),
            energy_mj=None if energy_mj is None else fields.number(record, "energy_mj", where),
            thresholds=None if thresholds is None else fields.numbers(record, "thresholds", where),
        )


def check_dial(levels: Sequence[Level]) -> None:
    """`BundleError` unless levels differ, are all measured or none, and stand in order of what they cost."""
    count, timed = len(levels), sum(level.latency is not None for level in levels)
    if len({(level.model, level.exit, level.thresholds) for level in levels}) < count:
        raise fields.broken("levels", "differ in model, exit or thresholds, but two are alike")
    if timed not in (0, count):
        raise fields.broken("levels", f"have a latency all or none, but {timed} of {count} have one")
    for number, (before, cost) in enumerate(pairwise(_costs(levels)), 1):
        if cost < before:
            rule = "be in order of latency, or of macs without it"
            raise fields.broken("levels", f"{rule}, but levels[{number}] has {cost:.5g} after {before:.5g}")


def undominated(levels: Sequence[Level]) -> tuple[int, ...]:
    """Numbers of the levels that no other beats in time and accuracy, cheapest first.

    Each is more accurate than the one before. Unless all are measured, MACs stand in for time."""
    cost, best = _costs(levels), list[int]()
    for number in sorted(range(len(levels)), key=lambda number: (cost[number], -levels[number].accuracy)):
        if not best or levels[number].accuracy > levels[best[-1]].accuracy:
            best.append(number)
    return tuple(best)


def _costs(levels: Sequence[Level]) -> tuple[float, ...]:
    """What levels are ordered by: their median times, or their MACs unless all are measured."""
    times_ms = tuple(level.latency.p50_ms for level in levels if level.latency)
    return times_ms if len(times_ms) == len(levels) else tuple(level.macs for level in levels)
