"""A level, the unit in which a device turns quality up and down, and the measured time that it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, final

from nas.bundle import fields

__all__ = ["Latency", "Level", "undominated"]


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
        return cls(
            p50_ms=fields.number(record, "p50", where),
            p95_ms=fields.number(record, "p95", where),
            spread=fields.number(record, "spread", where),
            runs=fields.field(record, "runs", int, where),
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
            macs=fields.field(record, "macs", int, where),
            latency=None if latency is None else Latency.from_json(latency, f"{where}.latency_ms"),
            energy_mj=None if energy_mj is None else fields.number(record, "energy_mj", where),
            thresholds=None if thresholds is None else fields.numbers(record, "thresholds", where),
        )


def undominated(levels: Sequence[Level]) -> tuple[int, ...]:
    """Numbers of the levels that no other beats in time and accuracy, so that each costs more and is more
    accurate than the one before. Unless all are measured, MACs stand in for time."""
    timed = all(level.latency for level in levels)
    costs = [level.latency.p50_ms if timed and level.latency else level.macs for level in levels]
    best: list[int] = []
    for number in sorted(range(len(levels)), key=lambda number: (costs[number], -levels[number].accuracy)):
        if not best or levels[number].accuracy > levels[best[-1]].accuracy:
            best.append(number)
    return tuple(best)
