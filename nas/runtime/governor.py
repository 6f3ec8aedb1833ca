"""Turn signals into a level: each step is a pure function, so a trace replayed gives the same switches.

A policy says which level it wants and why (`nas.runtime.policies`, `nas.runtime.adaptive`); the governor
keeps switches apart in time and remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from operator import index
from typing import Any, Self, final

from nas.bundle import Bundle, Level, undominated
from nas.bundle.fields import broken
from nas.errors import BundleError, DataError
from nas.runtime.policies import BatteryBands
from nas.runtime.policy import Memory, Policy, Situation, check_range, short
from nas.runtime.settings import policy_from_json, policy_to_json
from nas.runtime.signals import Signals

__all__ = ["Governor"]

_ANY = Signals(
    battery_ratio=0.5, charging=False, temperature_c=20, time_s=1, latency_ms=1, requests_hz=1, until_s=2
)
_STATE = ("level", "reason", "switched", "switched_s", "memory")


@final
@dataclass(frozen=True)
class Governor:
    """The level in force with the reason for it; `step` gives the governor that follows.

    It begins at the top level unless `level` says otherwise. `dial` are the numbers of the levels to choose
    from, rising; by default those that no other beats in time and accuracy. Two switches are at least
    `dwell_s` apart as far as signals tell the time, unless a choice is urgent: a pin, heat, or a deadline
    that would be missed. `switched_s` is the time of the last one.
    """

    levels: tuple[Level, ...]
    policy: Policy
    level: int = -1
    reason: str = "started"
    switched: bool = False
    switched_s: float | None = None
    memory: Memory = field(default_factory=dict, hash=False)
    dwell_s: float = field(default=30.0, kw_only=True)
    dial: tuple[int, ...] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        count = len(self.levels)
        if count == 0:
            raise BundleError(
                "a governor must have levels to choose from, but got none; give those of a bundle"
            )
        if not -1 <= self.level < count:
            rule = f"level must be from 0 to {count - 1}, or -1 for the top"
            raise BundleError(f"{rule}, but got {self.level}; choose a level of the bundle")
        check_range(dwell_s=(self.dwell_s, 0, 1e9))
        dial = undominated(self.levels) if self.dial is None else tuple(self.dial)
        if not dial or not all(low < high for low, high in pairwise((-1, *dial, count))):
            rule = f"dial must be levels from 0 to {count - 1} in rising order"
            raise DataError(f"{rule}, but got {dial}; choose levels of the bundle and sort them")
        object.__setattr__(self, "level", dial[-1] if self.level == -1 else self.level)
        object.__setattr__(self, "dial", dial)

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The governor that a bundle asks for, by default bands of battery charge."""
        if not bundle.governor:
            return cls(bundle.levels, BatteryBands())
        try:
            return cls.from_json(bundle.governor, bundle.levels)
        except DataError as error:
            raise broken("bundle.json.governor", f"be that of a governor, but: {error}") from error

    def step(self, signals: Signals) -> Self:
        """The governor after these signals."""
        dial, now = self.dial or (), self.level
        situation = Situation(
            levels=tuple(self.levels[number] for number in dial),
            numbers=dial,
            position=(position := max(0, sum(number <= now for number in dial) - 1)),
            wanted=position,
            ran=self.levels[now],
            signals=signals,
            memory=self.memory,
        )
        choice = self.policy.decide(situation)
        if not 0 <= choice.position <= situation.top:
            rule = f"a policy must choose a place on the dial, from 0 to {situation.top}"
            raise BundleError(f"{rule}, but got {choice.position}; mend {type(self.policy).__name__}")
        level, reason = dial[choice.position], choice.reason
        wait_s = self._wait_s(signals) if level != now and not choice.urgent else 0.0
        if wait_s > 0:
            level, reason = now, f"{reason}, but the last switch is too young by {short(wait_s)} s"
        return replace(
            self,
            level=level,
            reason=f"{reason}: level {now} -> {level}" if level != now else f"{reason}: level {now} kept",
            switched=level != now,
            switched_s=signals.time_s if level != now else self.switched_s,
            memory=dict(choice.memory),
        )

    def to_json(self) -> dict[str, Any]:
        """Settings and state; the levels stay in the bundle."""
        settings = {"policy": policy_to_json(self.policy), "dwell_s": self.dwell_s, "dial": self.dial}
        return settings | {name: getattr(self, name) for name in _STATE}

    @classmethod
    def from_json(cls, record: Mapping[str, Any], levels: tuple[Level, ...]) -> Self:
        """The governor that wrote `record` with `to_json`, over the levels of the same bundle.

        Only the policy must be there: without state, a governor with these settings begins.
        """
        try:
            policy = policy_from_json(record["policy"])
            state = {name: record[name] for name in (*_STATE, "dwell_s", "dial") if name in record}
            if state.get("dial") is not None:
                state["dial"] = tuple(map(index, state["dial"]))
            if not isinstance(state.get("memory", {}), Mapping):
                raise TypeError("a memory that is no object")
            state["level"] = index(state.get("level", -1))
            if state.get("switched_s") is not None:
                state["switched_s"] = float(state["switched_s"])
            governor = cls(levels, policy, **state)
            with suppress(BundleError):  # levels that lack what a policy needs are told when it is needed
                governor.step(_ANY)  # which reads all of the memory
            return governor
        except (BundleError, DataError):
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            rule = "a governor must be as to_json writes it"
            raise DataError(f"{rule}, but got {type(error).__name__} {error}; start a new one") from error

    def _wait_s(self, signals: Signals) -> float:
        if self.switched_s is None or signals.time_s is None:
            return 0.0
        elapsed_s = signals.time_s - self.switched_s
        return self.dwell_s - elapsed_s if elapsed_s >= 0 else 0.0  # a clock that went back began anew
