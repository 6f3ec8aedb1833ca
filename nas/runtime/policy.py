"""What a policy is: a rule that chooses among levels by signals, purely, with a memory handed in and out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from nas.bundle import Level
from nas.errors import BundleError, DataError
from nas.runtime.signals import Signals

__all__ = ["Choice", "Memory", "Policy", "Situation", "check_range", "energy_mj", "percent", "short"]

Memory = Mapping[str, Any]
"""What a policy must know of the past, plain JSON; empty at the start."""


@final
@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a policy sees: the levels to choose from, cheapest first, and where things stand.

    `numbers` are their numbers in the bundle, `position` is the place among them of the one in force, `ran`
    that one itself, of which the signals tell. `wanted` is the place that this policy wished for, where
    others hold the level down, else `position`; `memory` is what it gave the step before.
    """

    levels: tuple[Level, ...]
    numbers: tuple[int, ...]
    position: int
    wanted: int
    ran: Level
    signals: Signals
    memory: Memory

    @property
    def top(self) -> int:
        return len(self.levels) - 1


@final
@dataclass(frozen=True)
class Choice:
    """The place of the level wanted, why, what to remember, and whether it cannot wait for the dwell."""

    position: int
    reason: str
    memory: Memory = field(default_factory=dict)
    urgent: bool = False


class Policy(ABC):
    """A rule that chooses levels; a pure function, so that a trace replayed gives the same switches."""

    @abstractmethod
    def decide(self, situation: Situation) -> Choice:
        """The level to run now, and why, in one sentence."""


def energy_mj(level: Level, power_w: float | None) -> float:
    """Millijoules of one inference at a level: as the bundle tells, else its median time at a power."""
    if level.energy_mj is not None:
        return level.energy_mj
    if level.latency is None or power_w is None:
        rule = "a level must have energy, or a latency and a policy with power_w"
        raise BundleError(f"{rule}, but {level.model} exit {level.exit} has none; export with --energy")
    return level.latency.p50_ms * power_w


def check_range(*optional: str, **values: tuple[float | None, float, float]) -> None:
    """`DataError` unless each value is finite and within its two bounds; `optional` ones may be None."""
    for name, (value, low, high) in values.items():
        if value is None and name in optional:
            continue
        if value is None or not (math.isfinite(value) and low <= value <= high):
            span = f"from {low:g} to {high:g}" if high < math.inf else f"finite and not below {low:g}"
            raise DataError(f"{name} must be {span}, but got {value}; give such a number")


def short(value: float) -> str:
    """A number with four digits, for a reason."""
    return f"{value:.4g}"


def percent(ratio: float) -> str:
    """A share, for a reason."""
    return f"{short(100 * ratio)} %"
