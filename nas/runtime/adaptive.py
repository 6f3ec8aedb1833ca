"""Rules that learn from what they observe: deadlines under a slow-down, and a battery that shall last.

The slow-down of a device is one factor on the measured times of all levels, tracked by a Kalman filter whose
process noise follows the surprises, as in ALERT (Wan et al., USENIX ATC 2020,
https://www.usenix.org/conference/atc20/presentation/wan).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from nas.bundle import Latency, Level
from nas.errors import BundleError
from nas.runtime.policy import Choice, Memory, Policy, Situation, check_range, energy_mj, percent, short

__all__ = ["Deadline", "EnergyUntil"]

_FULL = 0.98  # a battery that charges no faster however little is taken


@final
@dataclass(frozen=True, kw_only=True)
class Deadline(Policy):
    """The highest level whose 95th percentile, at the present slow-down, fits the deadline.

    The deadline is `deadline_ms`, or the signals'. `caution` standard deviations of the slow-down are added
    to it; `noise` is that of a single observation, as a share; `process_noise` the least by which the
    slow-down is expected to move between two steps, and `memory_ratio` how slowly that is forgotten when
    it moved more.
    """

    deadline_ms: float | None = None
    caution: float = 2.0
    noise: float = 0.1
    process_noise: float = 0.01
    memory_ratio: float = 0.3

    def __post_init__(self) -> None:
        check_range(
            deadline_ms=(self.deadline_ms, 0, math.inf),
            caution=(self.caution, 0, 100),
            noise=(self.noise, 1e-6, 10),
            process_noise=(self.process_noise, 1e-9, 10),
            memory_ratio=(self.memory_ratio, 0, 0.999),
        )

    def decide(self, situation: Situation) -> Choice:
        """The highest level that fits, or the lowest where none does."""
        memory = self._observed(situation)
        deadline_ms = self.deadline_ms if self.deadline_ms is not None else situation.signals.deadline_ms
        if deadline_ms is None:
            return Choice(situation.top, "no deadline", memory)
        slowdown = float(memory["mean"]) + self.caution * math.sqrt(float(memory["variance"]))
        fitting = [
            place for place, level in enumerate(situation.levels) if _p95_ms(level) * slowdown <= deadline_ms
        ]
        reason = f"slow-down {short(slowdown)}, deadline {short(deadline_ms)} ms"
        return Choice(max(fitting, default=0), reason, memory)

    def _observed(self, situation: Situation) -> Memory:
        """Mean and variance of the slow-down, after the time that the level in force took."""
        mean, variance, moved = (
            float(situation.memory.get(name, start))
            for name, start in (("mean", 1.0), ("variance", self.process_noise**2), ("moved", 0.0))
        )
        latency_ms = situation.signals.latency_ms
        if latency_ms is None:
            return {"mean": mean, "variance": variance, "moved": moved}
        predicted = variance + max(self.process_noise**2, moved)
        surprise = latency_ms / _p50_ms(situation.ran) - mean
        gain = predicted / (predicted + (self.noise * mean) ** 2)
        if surprise**2 > 9 * (predicted + (self.noise * mean) ** 2):
            gain = 1.0  # no noise: the device has changed, and what was known of it no longer holds
        moved = self.memory_ratio * moved + (1 - self.memory_ratio) * (gain * surprise) ** 2
        mean = max(1e-3, mean + gain * surprise)
        return {"mean": mean, "variance": (1 - gain) * predicted, "moved": moved}


@final
@dataclass(frozen=True, kw_only=True)
class EnergyUntil(Policy):
    """The highest level that the battery can pay until a time, at the rate of requests that there is.

    `capacity_mj` is that of the full battery, `idle_w` what the device takes beside the inferences, `power_w`
    what it takes during one where the bundle tells no energy. `reserve_ratio` of the battery is left alone.
    Of the levels only those count that give the most accuracy for their energy, so that changing between two
    of them is as good as any level between. Without a time, a charge or requests nothing limits the level.
    """

    capacity_mj: float
    idle_w: float = 0.0
    power_w: float | None = None
    reserve_ratio: float = 0.01
    memory_ratio: float = 0.98

    def __post_init__(self) -> None:
        check_range(
            capacity_mj=(self.capacity_mj, 1e-9, math.inf),
            idle_w=(self.idle_w, 0, math.inf),
            power_w=(self.power_w, 0, math.inf),
            reserve_ratio=(self.reserve_ratio, 0, 0.99),
            memory_ratio=(self.memory_ratio, 0, 0.9999),
        )

    def decide(self, situation: Situation) -> Choice:
        """The highest level that can be paid."""
        signals, memory = situation.signals, self._observed(situation)
        rate_hz, charge = memory["rate_hz"], signals.battery_ratio
        if signals.until_s is None or signals.time_s is None or charge is None or not rate_hz:
            return Choice(situation.top, "no time to last until", memory)
        left_s = signals.until_s - signals.time_s
        if left_s <= 0:
            return Choice(situation.top, "the time to last until is over", memory)
        if signals.charging and charge >= _FULL:
            return Choice(situation.top, f"charging at {percent(charge)}", memory)
        stored_mj = max(0.0, charge - self.reserve_ratio) * self.capacity_mj
        spare_mj = (stored_mj / left_s + float(memory["inflow_mw"]) - 1000 * self.idle_w) / float(rate_hz)
        energies = [energy_mj(level, self.power_w) for level in situation.levels]
        places = _frontier(energies, [level.accuracy for level in situation.levels])
        position = max((place for place in places if energies[place] <= spare_mj), default=places[0])
        return Choice(position, f"{short(spare_mj)} mJ a request for {short(left_s)} s", memory)

    def _observed(self, situation: Situation) -> Memory:
        """The rate of requests and the power that flows in, both smoothed, and the charge at its time."""
        signals, memory, kept = situation.signals, situation.memory, self.memory_ratio
        rate_hz, inflow_mw = memory.get("rate_hz"), float(memory.get("inflow_mw", 0.0))
        if signals.requests_hz is not None:
            before = signals.requests_hz if rate_hz is None else rate_hz
            rate_hz = before + (1 - kept) * (signals.requests_hz - before)
        return {"rate_hz": rate_hz, "inflow_mw": inflow_mw}


def _frontier(energies: Sequence[float], accuracies: Sequence[float]) -> list[int]:
    """Places on the concave hull of accuracy over energy, cheapest first."""
    hull: list[int] = []

    def slope(low: int, high: int) -> float:
        return (accuracies[high] - accuracies[low]) / max(energies[high] - energies[low], 1e-12)

    for place in sorted(range(len(energies)), key=lambda place: (energies[place], -accuracies[place])):
        if hull and accuracies[place] <= accuracies[hull[-1]]:
            continue
        while len(hull) > 1 and slope(hull[-2], hull[-1]) <= slope(hull[-1], place):
            hull.pop()
        hull.append(place)
    return hull


def _p50_ms(level: Level) -> float:
    return _latency(level).p50_ms


def _p95_ms(level: Level) -> float:
    return _latency(level).p95_ms


def _latency(level: Level) -> Latency:
    if level.latency is None:
        got = f"{level.model} exit {level.exit} has none"
        raise BundleError(f"a level must have a measured latency, but {got}; export with a target")
    return level.latency
