"""A made-up device whose battery drains and whose chip gets hot, in whole units: it can be solved exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, final

from nas.bundle import Level
from nas.runtime.policy import check_range, energy_mj
from nas.simulation.trace import Moment

__all__ = ["Device", "Outcome", "State"]

_P95 = NormalDist().inv_cdf(0.95)


@final
class State(NamedTuple):
    """Charge and heat, in units of the device."""

    charge: int
    heat: int


@final
class Outcome(NamedTuple):
    """What came of the requests of one step."""

    answered: float
    """How many are expected to be answered in time."""
    missed: float
    """How many are expected to be answered after the deadline."""
    accuracy: float
    """Of the level that ran."""
    latency_ms: float
    """The median of the step."""


@final
@dataclass(frozen=True, kw_only=True)
class Device:
    """A battery of `charge_units` parts and a temperature of `heat_units` parts above `ambient_c`.

    An inference takes the energy that the bundle tells, or its time at `power_w`; longer under a slow-down.
    Times of single inferences are log-normal with the level's 95th percentile, so that a share of the
    requests of a step keeps the deadline. Heat leaves with the time constant `cooling_s`. At `throttle_c` and
    above the chip runs at 1 / `throttle_slowdown` of its speed. Where `capacity_mj` is None the battery is
    never empty, where `heating_c_per_j` is 0 nothing gets hot.
    """

    capacity_mj: float | None = None
    power_w: float | None = 2.0
    idle_w: float = 0.0
    charge_ratio: float = 1.0
    """Of the battery, at the start."""
    ambient_c: float = 25.0
    heating_c_per_j: float = 0.0
    cooling_s: float = 60.0
    throttle_c: float = 80.0
    throttle_slowdown: float = 2.0
    charge_units: int = 50_000
    heat_units: int = 3000
    """Coarser ones are solved sooner, but rounding must not be worth more than a choice."""
    hottest_c: float = 100.0

    def __post_init__(self) -> None:
        check_range(
            "capacity_mj",
            "power_w",
            ambient_c=(self.ambient_c, -273, 1000),
            throttle_c=(self.throttle_c, -273, 1e6),
            charge_units=(self.charge_units, 1, 1e9),
            heat_units=(self.heat_units, 1, 1e9),
            capacity_mj=(self.capacity_mj, 1e-9, math.inf),
            power_w=(self.power_w, 0, math.inf),
            idle_w=(self.idle_w, 0, math.inf),
            charge_ratio=(self.charge_ratio, 0, 1),
            heating_c_per_j=(self.heating_c_per_j, 0, math.inf),
            cooling_s=(self.cooling_s, 1e-3, math.inf),
            throttle_slowdown=(self.throttle_slowdown, 1, math.inf),
            hottest_c=(self.hottest_c, self.ambient_c + 1, math.inf),
        )

    @property
    def start(self) -> State:
        """The state before the first moment."""
        return State(round(self.charge_ratio * self.most_charge), 0)

    @property
    def most_charge(self) -> int:
        """Units of a full battery."""
        return 0 if self.capacity_mj is None else self.charge_units

    @property
    def most_heat(self) -> int:
        """Units of the hottest that the device can be."""
        return self.heat_units if self.heating_c_per_j else 0

    @property
    def throttle_heat(self) -> int:
        """Units from which on the chip runs slower."""
        share = (self.throttle_c - self.ambient_c) / (self.hottest_c - self.ambient_c)
        return math.ceil(share * self.heat_units)

    def temperature_c(self, state: State) -> float:
        """The temperature of the chip."""
        return self.ambient_c + (self.hottest_c - self.ambient_c) * state.heat / self.heat_units

    def battery_ratio(self, state: State) -> float | None:
        """The charge, None where the battery is never empty."""
        return None if self.capacity_mj is None else state.charge / self.most_charge

    def latency_ms(self, level: Level, moment: Moment, throttled: bool) -> float:
        """The median time of an inference at a level."""
        slowdown = self.throttle_slowdown if throttled else 1.0
        return level.measured.p50_ms * moment.slowdown * slowdown

    def in_time(self, level: Level, moment: Moment, throttled: bool) -> float:
        """The share of the inferences of a moment that keep its deadline."""
        if moment.deadline_ms is None:
            return 1.0
        latency = level.measured
        spread = math.log(max(latency.p95_ms / latency.p50_ms, 1 + 1e-9)) / _P95
        late = math.log(moment.deadline_ms / self.latency_ms(level, moment, throttled))
        return NormalDist().cdf(late / spread)

    def flows(self, level: Level, moment: Moment, step_s: float, *, throttled: bool) -> tuple[int, int, int]:
        """Units of charge that a step at a level takes and that it gets, and units of heat that it adds."""
        slowdown = moment.slowdown * (self.throttle_slowdown if throttled else 1.0)
        work_mj = moment.requests * energy_mj(level, self.power_w) * slowdown
        used_mj = work_mj + 1000 * self.idle_w * step_s
        heat_c = (used_mj / 1000 + moment.heat_w * step_s) * self.heating_c_per_j
        heat = round(heat_c / (self.hottest_c - self.ambient_c) * self.heat_units)
        if self.capacity_mj is None:
            return 0, 0, heat
        unit_mj = self.capacity_mj / self.charge_units
        return round(used_mj / unit_mj), round(1000 * moment.charger_w * step_s / unit_mj), heat

    def cooled(self, heat: int, step_s: float) -> int:
        """Heat that is left after a step without any."""
        return heat - math.floor(heat * (1 - math.exp(-step_s / self.cooling_s)) + 0.5)

    def advance(self, state: State, moment: Moment, level: Level, step_s: float) -> tuple[State, Outcome]:
        """Serve the requests of one moment at a level; with an empty battery none is answered."""
        throttled = bool(self.most_heat) and state.heat >= self.throttle_heat
        taken, given, heat = self.flows(level, moment, step_s, throttled=throttled)
        latency_ms = self.latency_ms(level, moment, throttled)
        charge = min(self.most_charge, state.charge + given)
        cool = self.cooled(state.heat, step_s)
        if charge < taken:
            return State(0, cool), Outcome(0, 0, level.accuracy, latency_ms)
        answered = moment.requests * self.in_time(level, moment, throttled)
        after = State(charge - taken, min(self.most_heat, cool + heat))
        return after, Outcome(answered, moment.requests - answered, level.accuracy, latency_ms)
