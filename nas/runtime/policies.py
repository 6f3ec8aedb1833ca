"""Rules for batteries, chargers, heat and users; each chooses by itself, and `Lowest` joins several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final

from nas.errors import BundleError, DataError
from nas.runtime.policy import Choice, Memory, Policy, Situation, check_range, percent, short

__all__ = ["BatteryBands", "Charger", "Lowest", "ThermalClamp", "UserPin"]


@final
@dataclass(frozen=True, kw_only=True)
class BatteryBands(Policy):
    """One band of battery charge per level, the fullest for the top level; the top level while charging.

    `bands` are the charges (0..1, rising) where they meet, equally wide by default. A boundary counts as
    crossed `hysteresis_ratio` beyond it, but never more than half of the narrowest band. Without a battery
    reading the level stays as it is, at first the top.
    """

    bands: tuple[float, ...] | None = None
    hysteresis_ratio: float = 0.03

    def __post_init__(self) -> None:
        if self.bands is not None:
            object.__setattr__(self, "bands", tuple(self.bands))
            if not all(low < high for low, high in pairwise((0, *self.bands, 1))):
                raise DataError(
                    f"bands must rise between 0 and 1, but got {self.bands}; sort charges such as 0.4"
                )
        check_range(hysteresis_ratio=(self.hysteresis_ratio, 0, 1))

    def decide(self, situation: Situation) -> Choice:
        """The level of the charge's band."""
        now, charge = situation.wanted, situation.signals.battery_ratio
        bands = self._bands(len(situation.levels))
        if situation.signals.charging:
            return Choice(situation.top, "charging")
        if charge is None:
            return Choice(now, "no battery reading")
        margin = min(self.hysteresis_ratio, min(high - low for low, high in pairwise((0, *bands, 1))) / 2)
        lower = sum(charge >= bound - margin for bound in bands[:now])
        if lower < now:
            return Choice(lower, f"battery {percent(charge)} < {percent(bands[lower] - margin)}")
        upper = now + sum(charge > bound + margin for bound in bands[now:])
        if upper > now:
            return Choice(upper, f"battery {percent(charge)} > {percent(bands[upper - 1] + margin)}")
        return Choice(now, f"battery {percent(charge)}")

    def _bands(self, count: int) -> tuple[float, ...]:
        bands = tuple(i / count for i in range(1, count)) if self.bands is None else self.bands
        if len(bands) != count - 1:
            rule = f"bands must be one fewer than the {count} levels of the dial"
            raise BundleError(f"{rule}, but got {len(bands)}; leave them out for equal bands")
        return bands


@final
@dataclass(frozen=True, kw_only=True)
class Charger(Policy):
    """The top level while a charger is in, at most a share of the dial without one.

    `unplugged_ratio` 0 is the lowest level, 1 the top, between them the nearest below. Unknown counts as
    unplugged.
    """

    unplugged_ratio: float = 0.5

    def __post_init__(self) -> None:
        check_range(unplugged_ratio=(self.unplugged_ratio, 0, 1))

    def decide(self, situation: Situation) -> Choice:
        """The top or the level for a life without a charger."""
        if situation.signals.charging:
            return Choice(situation.top, "charging")
        return Choice(int(self.unplugged_ratio * situation.top), "no charger")


@final
@dataclass(frozen=True, kw_only=True)
class ThermalClamp(Policy):
    """A ceiling that sinks level by level while it is too hot, and rises again when it is cool.

    It moves at most once in `pause_s`, for heat follows slowly: it sinks from the level in force at `hot_c`
    and above, and rises at `cool_c` and below. Without a reading it stays.
    """

    hot_c: float = 75.0
    cool_c: float = 70.0
    pause_s: float = 5.0

    def __post_init__(self) -> None:
        check_range(hot_c=(self.hot_c, -273, 1000), pause_s=(self.pause_s, 0, 1e9))
        check_range(cool_c=(self.cool_c, -273, self.hot_c))

    def decide(self, situation: Situation) -> Choice:
        """The ceiling."""
        memory, degrees = situation.memory, situation.signals.temperature_c
        ceiling = min(int(memory.get("ceiling", situation.top)), situation.top)
        now_s, moved_s = situation.signals.time_s, memory.get("moved_s")
        reason = "no temperature" if degrees is None else f"{short(degrees)} °C"
        waiting = now_s is not None and moved_s is not None and 0 <= now_s - moved_s < self.pause_s
        if degrees is not None and not waiting:
            if degrees >= self.hot_c and ceiling > 0:
                ceiling, moved_s = max(0, min(ceiling, situation.position) - 1), now_s
                reason = f"{short(degrees)} °C >= {short(self.hot_c)} °C"
            elif degrees <= self.cool_c and ceiling < situation.top:
                ceiling, moved_s = ceiling + 1, now_s
                reason = f"{short(degrees)} °C <= {short(self.cool_c)} °C"
        memory = {"ceiling": ceiling, "moved_s": moved_s}
        return Choice(ceiling, reason, memory, urgent=ceiling < situation.position)


@final
@dataclass(frozen=True)
class UserPin(Policy):
    """The level that the user asks for, as long as one does (`Signals.pin`), else what a policy chooses.

    A pin is the number of a level in the bundle; one that is not on the dial counts as the next below.
    """

    otherwise: Policy

    def __post_init__(self) -> None:
        _check_policies(self.otherwise)

    def decide(self, situation: Situation) -> Choice:
        """The pin, or the choice of the other policy."""
        pin = situation.signals.pin
        if pin is None:
            return self.otherwise.decide(situation)
        position = max(0, sum(number <= pin for number in situation.numbers) - 1)
        return Choice(position, f"pinned to {pin}", situation.memory, urgent=True)


@final
@dataclass(frozen=True)
class Lowest(Policy):
    """The lowest level that any of several policies chooses."""

    policies: tuple[Policy, ...]

    def __init__(self, policies: Sequence[Policy]) -> None:
        object.__setattr__(self, "policies", tuple(policies))
        _check_policies(*self.policies)
        if not self.policies:
            raise DataError("policies must be at least one, but got none; give one to go by")

    def decide(self, situation: Situation) -> Choice:
        """The lowest choice, of equal ones the first."""
        old = situation.memory.get("parts", [{}] * len(self.policies))
        pairs = zip(self.policies, old, strict=True)
        choices = [policy.decide(self._seen(situation, part)) for policy, part in pairs]
        lowest = min(choices, key=lambda choice: choice.position)
        parts = [{"wanted": choice.position, "memory": dict(choice.memory)} for choice in choices]
        return Choice(lowest.position, lowest.reason, {"parts": parts}, urgent=lowest.urgent)

    @staticmethod
    def _seen(situation: Situation, part: Memory) -> Situation:
        """As the policy sees it: where others hold the level down, it stands at what it wanted itself."""
        wanted = max(situation.position, min(int(part.get("wanted", 0)), situation.top))
        return replace(situation, wanted=wanted, memory=part.get("memory", {}))


def _check_policies(*policies: object) -> None:
    """`TypeError` unless all are policies: JSON lets anything through."""
    for each in policies:
        if not isinstance(each, Policy):
            raise TypeError(f"a policy must be one, but got {each!r}; give its name and settings")
