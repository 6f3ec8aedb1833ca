"""Rules that learn from what they observe: deadlines under a slow-down, and a battery that shall last.

The slow-down of a device is one factor on the measured times of all levels, tracked by a Kalman filter whose
process noise follows the surprises, as in ALERT (Wan et al., USENIX ATC 2020,
https://www.usenix.org/conference/atc20/presentation/wan).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.bundle import Level
from nas.runtime.policy import Choice, Memory, Policy, Situation, check_range, energy_mj, percent, short

__all__ = ["Deadline", "EnergyUntil"]

_MOST_SLOWDOWN = 1e3  # beyond it a device stands still
_FULL = 0.98  # a battery that charges no faster however little is taken
_PATIENCE_S = 300.0  # for which what is usual counts at the start
_GONE_S = 60.0  # a charger that is out is no loose contact
_STAY_S = 200.0  # for which a charger is expected to stay, at least
_SHORT_S = 30.0  # a charger that is out no longer has a loose contact, perhaps
_LEAST_WINDOW_S = 10.0  # over which requests are averaged, at least
_SLOWDOWN_S = 30.0  # over which the energy of inferences is averaged


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
            "deadline_ms",
            deadline_ms=(self.deadline_ms, 0, 1e15),
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
            place
            for place, level in enumerate(situation.levels)
            if level.measured.p95_ms * slowdown <= deadline_ms
        ]
        reason = f"slow-down {short(slowdown)}, deadline {short(deadline_ms)} ms"
        position = max(fitting, default=0)
        return Choice(position, reason, memory, urgent=position < situation.position)

    def _observed(self, situation: Situation) -> Memory:
        """Mean and variance of the slow-down, after the time that the level in force took."""
        mean, variance, moved = (
            float(situation.memory.get(name, start))
            for name, start in (("mean", 1.0), ("variance", self.process_noise**2), ("moved", 0.0))
        )
        found = _observed_slowdown(situation.ran, situation.signals.latency_ms, mean)
        if found is None:
            return {"mean": mean, "variance": variance, "moved": moved}
        predicted = variance + max(self.process_noise**2, moved)
        surprise = min(_MOST_SLOWDOWN, found) - mean
        gain = predicted / (predicted + (self.noise * mean) ** 2)
        if surprise**2 > 9 * (predicted + (self.noise * mean) ** 2):
            # No noise: the device has changed, and all that is known of it now is one observation.
            gain, predicted = 1.0, (self.noise * (mean + surprise)) ** 2
        moved = self.memory_ratio * moved + (1 - self.memory_ratio) * (gain * surprise) ** 2
        mean = max(1e-3, mean + gain * surprise)
        left = predicted if gain == 1.0 else (1 - gain) * predicted
        return {"mean": mean, "variance": left, "moved": moved}


def _observed_slowdown(ran: Level, latency_ms: float | None, mean: float) -> float | None:
    """How many times slower than measured the device is; None where the time does not tell.

    Where images leave at different exits, only one slower than the longest way tells of the device.
    """
    if latency_ms is None:
        return None
    if ran.thresholds is None:
        return latency_ms / ran.measured.p50_ms
    slower = latency_ms / ran.measured.p95_ms
    return slower if slower > mean else None


@final
@dataclass(frozen=True, kw_only=True)
class EnergyUntil(Policy):
    """The levels that the battery can pay until a time: the one below what is left for a request, or above.

    `capacity_mj` is that of the full battery, `idle_w` what the device takes beside the inferences, `power_w`
    what it takes during one where the bundle tells no energy, `charger_w` what a charger gives (0 counts on
    none) and `usual_hz` how many requests there usually are. `reserve_ratio` of the battery is left alone.
    Inferences that take longer than the bundle says take more energy.

    It changes between two neighbors among those levels that give the most accuracy for their energy, in such
    shares that all is used, for that is better than any one level between. As many requests are expected as
    there were in an equally long time. A charger is expected to stay for half of the time that it has been
    in, some minutes at least; one with a loose contact to the end, until it is out for longer than before.
    """

    capacity_mj: float
    idle_w: float = 0.0
    power_w: float | None = None
    charger_w: float = 0.0
    usual_hz: float | None = None
    reserve_ratio: float = 0.002

    def __post_init__(self) -> None:
        check_range(
            "power_w",
            "usual_hz",
            capacity_mj=(self.capacity_mj, 1e-9, 1e15),
            idle_w=(self.idle_w, 0, 1e15),
            power_w=(self.power_w, 0, 1e15),
            charger_w=(self.charger_w, 0, 1e15),
            usual_hz=(self.usual_hz, 0, 1e15),
            reserve_ratio=(self.reserve_ratio, 0, 0.99),
        )

    def decide(self, situation: Situation) -> Choice:
        """The level below or above what can be paid."""
        signals = situation.signals
        now_s, charge = signals.time_s, signals.battery_ratio
        if signals.until_s is None:
            return Choice(situation.top, "no time to last until", situation.memory)
        if now_s is None or charge is None:
            missing = "no clock" if now_s is None else "no battery reading"
            return Choice(situation.wanted, missing, situation.memory)
        left_s = signals.until_s - now_s
        if left_s <= 0:
            return Choice(situation.top, "the time to last until is over", situation.memory)
        requests = self._requests(situation, now_s, left_s)
        charger = _observed_charger(situation.memory.get("charger"), signals.charging, now_s)
        slowdown = self._slowdown(situation, now_s)
        memory = {
            "time_s": now_s,
            "requests": requests,
            "charger": charger,
            "slowdown": slowdown,
            "credit_mj": 0.0,
        }
        rate_hz = requests[0] / requests[1] if requests[1] else 0.0
        if signals.charging and charge >= _FULL:
            return Choice(situation.top, f"charging at {percent(charge)}", memory)
        if not requests[1]:
            return Choice(situation.wanted, "nothing known of requests", memory)
        if not rate_hz:
            return Choice(situation.top, "no requests", memory)
        stored_mj = max(0.0, charge - self.reserve_ratio) * self.capacity_mj
        spare_mw = (stored_mj + self._inflow_mj(charger, now_s, left_s)) / left_s - 1000 * self.idle_w
        return self._paid(situation, spare_mw / rate_hz / slowdown, left_s, memory)

    def _paid(self, situation: Situation, spare_mj: float, left_s: float, memory: dict[str, Any]) -> Choice:
        """The neighbor of what is left for a request that makes up best for what ran before."""
        energies = [energy_mj(level, self.power_w) for level in situation.levels]
        places = _frontier(energies, [level.accuracy for level in situation.levels])
        credit_mj = float(situation.memory.get("credit_mj", 0.0))
        most_mj = energies[places[-1]] - energies[places[0]]
        credit_mj = max(-most_mj, min(most_mj, credit_mj + spare_mj - energy_mj(situation.ran, self.power_w)))
        lower = max((turn for turn, place in enumerate(places) if energies[place] <= spare_mj), default=0)
        around = places[lower : lower + 2]
        position = min(around, key=lambda place: abs(energies[place] - spare_mj - credit_mj))
        reason = f"{short(spare_mj)} mJ a request for {short(left_s)} s"
        return Choice(position, reason, memory | {"credit_mj": credit_mj})

    def _requests(self, situation: Situation, now_s: float, left_s: float) -> list[float]:
        """Requests and the seconds that they came in; the older, the less they count."""
        usual_hz, hertz = self.usual_hz, situation.signals.requests_hz
        start = [0.0, 0.0] if usual_hz is None else [usual_hz * _PATIENCE_S, _PATIENCE_S]
        requests, seconds = situation.memory.get("requests", start)
        step_s = max(0.0, now_s - situation.memory.get("time_s", now_s))
        if hertz is None or not step_s:
            return [requests, seconds]
        kept = math.exp(-step_s / max(left_s, _LEAST_WINDOW_S))
        return [kept * requests + step_s * hertz, kept * seconds + step_s]

    def _slowdown(self, situation: Situation, now_s: float) -> float:
        """By how much inferences take longer than measured, hence more energy; smoothed."""
        slowdown, latency_ms = float(situation.memory.get("slowdown", 1.0)), situation.signals.latency_ms
        if latency_ms is None or situation.ran.latency is None:
            return slowdown
        step_s = max(0.0, now_s - situation.memory.get("time_s", now_s))
        found = max(1 / _MOST_SLOWDOWN, min(_MOST_SLOWDOWN, latency_ms / situation.ran.latency.p50_ms))
        share = 1 - math.exp(-step_s / _SLOWDOWN_S)
        return float(slowdown ** (1 - share) * found**share)  # of ratios the geometric mean is the fair one

    def _inflow_mj(self, charger: Mapping[str, float] | None, now_s: float, left_s: float) -> float:
        """What a charger is expected to give; nothing, once it is out for much longer than ever before."""
        if charger is None:
            return 0.0
        most_out_s = charger["most_out_s"]
        if charger["out_s"] > (max(_SHORT_S, 2 * most_out_s) if most_out_s else min(_SHORT_S, left_s / 10)):
            return 0.0
        lasted_s = now_s - charger["since_s"]
        share = charger["plugged_s"] / lasted_s if lasted_s else 1.0
        away_s = max(0.0, most_out_s - charger["out_s"]) if charger["out_s"] else 0.0
        horizon_s = left_s if most_out_s else min(left_s, max(lasted_s / 2, _STAY_S))
        return 1000 * self.charger_w * share * max(0.0, horizon_s - away_s)


def _observed_charger(
    known: Mapping[str, float] | None, charging: bool | None, now_s: float
) -> Mapping[str, float] | None:
    """Since when a charger is in or flapping, for how long it was in, and how long it was out at most."""
    if charging is None:
        return known
    if known is None or now_s < known["time_s"] or known["out_s"] > _GONE_S:
        fresh = {"since_s": now_s, "time_s": now_s, "plugged_s": 0.0, "out_s": 0.0, "most_out_s": 0.0}
        return fresh if charging else None
    step_s = now_s - known["time_s"]
    return {
        "since_s": known["since_s"],
        "time_s": now_s,
        "plugged_s": known["plugged_s"] + (step_s if charging else 0.0),
        "out_s": 0.0 if charging else known["out_s"] + step_s,
        "most_out_s": max(known["most_out_s"], known["out_s"] if charging else 0.0),
    }


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
