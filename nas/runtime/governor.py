"""Turn signals into a level: each step is a pure function, so a trace replayed gives the same switches.

The policy says which level it wants and why; bands of battery charge are the first one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, final

from nas.bundle import Level, undominated
from nas.errors import BundleError, DataError
from nas.runtime.signals import Signals

__all__ = ["BatteryBands", "Governor", "Policy"]


class Policy(ABC):
    """A rule that chooses levels; a pure function of the governor's state and the signals."""

    @abstractmethod
    def decide(self, governor: Governor, signals: Signals) -> tuple[int, str]:
        """The level to run now, and why, in one sentence."""


@final
@dataclass(frozen=True)
class Governor:
    """The level in force with the reason for it; `step` gives the governor that follows.

    It begins at the top level unless `level` says otherwise. `switched_s` is the time of the last switch.
    """

    levels: tuple[Level, ...]
    policy: Policy
    level: int = -1
    reason: str = "started"
    switched: bool = False
    switched_s: float | None = None

    def __post_init__(self) -> None:
        count = len(self.levels)
        if count == 0:
            raise BundleError(
                "a governor must have levels to choose from, but got none; give those of a bundle"
            )
        if not -1 <= self.level < count:
            rule = f"level must be from 0 to {count - 1}, or -1 for the top"
            raise BundleError(f"{rule}, but got {self.level}; choose a level of the bundle")
        object.__setattr__(self, "level", self.level % count)

    def step(self, signals: Signals) -> Governor:
        """The governor after these signals."""
        level, reason = self.policy.decide(self, signals)
        switched = level != self.level
        switched_s = signals.time_s if switched else self.switched_s
        return replace(self, level=level, reason=reason, switched=switched, switched_s=switched_s)

    def to_json(self) -> dict[str, Any]:
        """Policy and state; the levels stay in the bundle."""
        names = [name for name, policy in _POLICIES.items() if type(self.policy) is policy]
        if not names:
            rule = f"a policy must be one of {list(_POLICIES)} to become JSON"
            raise TypeError(f"{rule}, but got {type(self.policy).__name__}; store level and reason yourself")
        return {
            "policy": {"name": names[0], **asdict(self.policy)},  # type: ignore[call-overload]
            "level": self.level,
            "reason": self.reason,
            "switched": self.switched,
            "switched_s": self.switched_s,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], levels: tuple[Level, ...]) -> Governor:
        """The governor that wrote `record` with `to_json`, over the levels of the same bundle."""
        try:
            settings = dict(record["policy"])
            policy = _POLICIES[settings.pop("name")](**settings)
            state = {key: record[key] for key in ("level", "reason", "switched", "switched_s")}
            return cls(levels, policy, **state)
        except (KeyError, TypeError, AttributeError) as error:
            rule = "a governor must be as to_json writes it"
            raise DataError(f"{rule}, but got {type(error).__name__} {error}; start a new one") from error


@final
@dataclass(frozen=True, kw_only=True)
class BatteryBands(Policy):
    """One band of battery charge per level, the fullest for the top level; the top level while charging.

    `dial` are the levels to choose from, cheapest first; by default those that no other beats in time and
    accuracy. `bands` are the charges (0..1, rising) where they meet, equally wide by default. A boundary
    counts as crossed `hysteresis_ratio` beyond it, but never more than half of the narrowest band. Two
    switches are at least `dwell_s` apart as far as signals tell the time. Without a battery reading the
    level stays as it is, at first the top.
    """

    bands: tuple[float, ...] | None = None
    dial: tuple[int, ...] | None = None
    hysteresis_ratio: float = 0.03
    dwell_s: float = 30.0

    def __post_init__(self) -> None:
        if self.bands is not None:
            object.__setattr__(self, "bands", tuple(self.bands))
            if not all(low < high for low, high in pairwise((0, *self.bands, 1))):
                raise DataError(
                    f"bands must rise between 0 and 1, but got {self.bands}; sort charges such as 0.4"
                )
        if self.dial is not None:
            object.__setattr__(self, "dial", tuple(self.dial))
            if not self.dial or not all(low < high for low, high in pairwise((-1, *self.dial))):
                raise DataError(f"dial must be levels in rising order, but got {self.dial}; sort them")
        for name, value in (("hysteresis_ratio", self.hysteresis_ratio), ("dwell_s", self.dwell_s)):
            if not 0 <= value < math.inf:
                raise DataError(f"{name} must be finite and not below 0, but got {value}; give 0 for none")

    def decide(self, governor: Governor, signals: Signals) -> tuple[int, str]:
        """The level of the charge's band, or the present one while the last switch is too young."""
        now = governor.level
        wanted, cause = self._wanted(governor, signals)
        if wanted == now:
            return now, f"{cause}: level {now} kept"
        wait_s = self._wait_s(governor, signals)
        if wait_s > 0:
            return now, f"{cause}, but the last switch is too young by {wait_s:.4g} s: level {now} kept"
        return wanted, f"{cause}: level {now} -> {wanted}"

    def _wanted(self, governor: Governor, signals: Signals) -> tuple[int, str]:
        dial, charge = self._dial(governor.levels), signals.battery_ratio
        bands = self._bands(len(dial))
        if signals.charging:
            return dial[-1], "charging"
        if charge is None:
            return governor.level, "no battery reading"
        margin = min(self.hysteresis_ratio, min(high - low for low, high in pairwise((0, *bands, 1))) / 2)
        now = max(0, sum(level <= governor.level for level in dial) - 1)
        lower = sum(charge >= bound - margin for bound in bands[:now])
        if lower < now:
            return dial[lower], f"battery {_percent(charge)} < {_percent(bands[lower] - margin)}"
        upper = now + sum(charge > bound + margin for bound in bands[now:])
        if upper > now:
            return dial[upper], f"battery {_percent(charge)} > {_percent(bands[upper - 1] + margin)}"
        return dial[now], f"battery {_percent(charge)}"

    def _dial(self, levels: tuple[Level, ...]) -> tuple[int, ...]:
        if self.dial is None:
            return undominated(levels)
        if self.dial[-1] >= len(levels):
            rule = f"dial must name levels from 0 to {len(levels) - 1}"
            raise BundleError(f"{rule}, but got {self.dial}; choose levels of the bundle")
        return self.dial

    def _bands(self, count: int) -> tuple[float, ...]:
        bands = tuple(i / count for i in range(1, count)) if self.bands is None else self.bands
        if len(bands) != count - 1:
            rule = f"bands must be one fewer than the {count} levels of the dial"
            raise BundleError(f"{rule}, but got {len(bands)}; leave them out for equal bands")
        return bands

    def _wait_s(self, governor: Governor, signals: Signals) -> float:
        if governor.switched_s is None or signals.time_s is None:
            return 0.0
        elapsed_s = signals.time_s - governor.switched_s
        return self.dwell_s - elapsed_s if elapsed_s >= 0 else 0.0  # a clock that went back began anew


_POLICIES = {"battery_bands": BatteryBands}


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.4g} %"
