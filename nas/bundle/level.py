"""A level, the unit in which a device turns quality up and down, and the measured time that it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, final

from nas.bundle import fields
from nas.errors import BundleError

__all__ = ["Latency", "Level", "check_dial", "check_level", "undominated"]

_ROUNDING = 1e-6


@final
@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one inference on a named target."""

    p50_ms: float
    """The median where nothing else disturbs the target."""
    p95_ms: float
    """The 95th percentile of all runs, disturbed ones too."""
    spread: float
    """The interquartile range of all runs over their median."""
    runs: int
    target: str
    low_ms: float | None = None
    """With `high_ms`, where the median of another such measurement lies; None where that is not known."""
    high_ms: float | None = None
    slowdown: float = 1.0
    """By what the median was divided, because the whole target was slower than it can be; at least 1."""
    power_w: float | None = None
    """Mean power of the whole target while it was measured, None where it has no meter."""

    @property
    def upper_ms(self) -> float:
        """Upper bound of the median: `high_ms`, or the median itself where that is not known."""
        return self.p50_ms if self.high_ms is None else self.high_ms

    @property
    def energy_mj(self) -> float | None:
        """What the whole target draws during the median, None where it has no meter."""
        return None if self.power_w is None else self.p50_ms * self.power_w

    def to_json(self) -> dict[str, Any]:
        """The value as it stands under a key that names the unit, `latency_ms`."""
        return {
            "p50": self.p50_ms,
            "p95": self.p95_ms,
            "spread": self.spread,
            "runs": self.runs,
            "target": self.target,
            "low": self.low_ms,
            "high": self.high_ms,
            "slowdown": self.slowdown,
            "power_w": self.power_w,
        }

    @classmethod
    def from_json(cls, record: object, where: str = "latency_ms") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        p50_ms, slowdown = (fields.number(record, key, where) for key in ("p50", "slowdown"))
        low_ms, high_ms = (fields.optional_number(record, key, where) for key in ("low", "high"))
        for key, found in (("p50", p50_ms), ("slowdown", slowdown)):
            if found == 0:
                raise fields.broken(f"{where}.{key}", "be above 0, but got 0")
        if (low_ms is None) != (high_ms is None) or (low_ms or 0) > (high_ms or 0):
            rule = "have low and high, low not above high, or neither"
            raise fields.broken(where, f"{rule}, but got {low_ms} and {high_ms}")
        return cls(
            p50_ms=p50_ms,
            p95_ms=fields.number(record, "p95", where),
            spread=fields.number(record, "spread", where),
            runs=fields.count(record, "runs", where),
            target=fields.field(record, "target", str, where),
            low_ms=low_ms,
            high_ms=high_ms,
            slowdown=slowdown,
            power_w=fields.optional_number(record, "power_w", where),
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
    energy_source: str = ""
    """`measured`, or `declared` and the formula of an estimate; empty where no energy is told."""
    thresholds: tuple[float, ...] | None = None
    """How sure each exit of the model but the last must be to answer; above 1 it is not asked."""
    shares: tuple[float, ...] | None = None
    """With thresholds, the share of validation images that left at each exit of the model. MACs, latency and
    energy are then means over these, but the 95th percentile is that of the longest way."""
    keeps_budget: bool | None = None
    """Whether the upper bound of the latency kept the budget; None where no latency is limited here."""

    @property
    def measured(self) -> Latency:
        """The latency; `BundleError` where the bundle was exported without a target."""
        if self.latency is None:
            got = f"{self.model} exit {self.exit} has none"
            raise BundleError(f"a level must have a measured latency, but {got}; export with a target")
        return self.latency

    def to_json(self) -> dict[str, Any]:
        """The level as an entry of bundle.json."""
        return {
            "model": self.model,
            "exit": self.exit,
            "accuracy": self.accuracy,
            "macs": self.macs,
            "latency_ms": None if self.latency is None else self.latency.to_json(),
            "energy_mj": self.energy_mj,
            "energy_source": self.energy_source,
            "thresholds": None if self.thresholds is None else list(self.thresholds),
            "shares": None if self.shares is None else list(self.shares),
            "keeps_budget": self.keeps_budget,
        }

    @classmethod
    def from_json(cls, record: object, where: str = "level") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        latency, thresholds, shares, keeps = (
            fields.value(record, key, where) for key in ("latency_ms", "thresholds", "shares", "keeps_budget")
        )
        energy_mj = fields.optional_number(record, "energy_mj", where)
        energy_source = fields.field(record, "energy_source", str, where)
        if (energy_mj is None) != (not energy_source):
            raise fields.broken(
                f"{where}.energy_source", f"say where energy is from, but got {fields.short(energy_source)}"
            )
        return cls(
            model=fields.field(record, "model", str, where),
            exit=fields.field(record, "exit", int, where),
            accuracy=fields.number(record, "accuracy", where, high=1),
            macs=fields.count(record, "macs", where),
            latency=None if latency is None else Latency.from_json(latency, f"{where}.latency_ms"),
            energy_mj=energy_mj,
            energy_source=energy_source,
            thresholds=None if thresholds is None else fields.numbers(record, "thresholds", where),
            shares=None if shares is None else fields.numbers(record, "shares", where),
            keeps_budget=None if keeps is None else fields.field(record, "keeps_budget", bool, where),
        )


def check_level(level: Level, exits: int, where: str = "a level") -> None:
    """`BundleError` unless a level names an exit of its model, and as many thresholds as that can use."""
    if not 0 <= level.exit < exits:
        rule = f"name one of the {exits} exits of {fields.short(level.model)}, counted from 0"
        raise fields.broken(where, f"{rule}, but got {fields.short(level.exit)}")
    if level.thresholds is not None and len(level.thresholds) != exits - 1:
        rule = f"have a threshold for each of {exits - 1} exits but the last"
        raise fields.broken(where, f"{rule}, but has {len(level.thresholds)}")
    if level.shares is not None:
        _check_shares(level.shares, level, exits, where)


def _check_shares(shares: Sequence[float], level: Level, exits: int, where: str) -> None:
    if level.thresholds is None:
        raise fields.broken(where, "have shares with thresholds only, but has shares alone")
    adds_up = len(shares) == exits and abs(sum(shares) - 1) <= _ROUNDING
    are_shares = all(-_ROUNDING <= share <= 1 + _ROUNDING for share in shares)
    if not adds_up or not are_shares or any(shares[level.exit + 1 :]):
        rule = f"have a share for each of {exits} exits, which add up to 1, and 0 behind its own exit"
        raise fields.broken(f"{where}.shares", f"{rule}, but has {fields.short(list(shares))}")
    if any(share and limit > 1 for share, limit in zip(shares[: level.exit], level.thresholds, strict=False)):
        rule = "be 0 for an exit that is not asked"
        raise fields.broken(f"{where}.shares", f"{rule}, but has {fields.short(list(shares))}")


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
