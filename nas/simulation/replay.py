"""Run a governor, or one level all day, through a trace on a made-up device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from nas.bundle import Level
from nas.runtime import Governor, Signals
from nas.simulation.device import Device, Outcome, State
from nas.simulation.trace import Moment, Trace

__all__ = ["Replay", "Step", "replay_governor", "replay_level"]

_GAUGE = 1000  # parts that a gauge in microwatt hours tells apart, at least


@final
@dataclass(frozen=True)
class Step:
    """One moment as it went."""

    moment: Moment
    state: State
    """Before it."""
    level: int
    outcome: Outcome
    reason: str = ""


@final
@dataclass(frozen=True)
class Replay:
    """A trace as it went."""

    steps: tuple[Step, ...]

    @property
    def accuracy(self) -> float:
        """Mean over all requests; one that is unanswered, or answered too late, counts 0."""
        asked = sum(step.moment.requests for step in self.steps)
        return sum(step.outcome.answered * step.outcome.accuracy for step in self.steps) / max(1, asked)

    @property
    def missed_ratio(self) -> float:
        """Requests answered too late, of all but those just after a sudden change."""
        counted = [step for step in self.steps if not step.moment.changed]
        asked = sum(step.moment.requests for step in counted)
        return sum(step.outcome.missed for step in counted) / max(1, asked)

    @property
    def unanswered_ratio(self) -> float:
        """Requests that met an empty battery."""
        asked = sum(step.moment.requests for step in self.steps)
        served = sum(step.outcome.answered + step.outcome.missed for step in self.steps)
        return (asked - served) / max(1, asked)

    @property
    def switches(self) -> int:
        """How often the level changed."""
        levels = [step.level for step in self.steps]
        return sum(before != after for before, after in pairwise(levels))


def replay_level(device: Device, trace: Trace, levels: tuple[Level, ...], number: int) -> Replay:
    """One level all day."""
    return _replay(device, trace, levels, lambda *_: (number, ""))


def replay_governor(device: Device, trace: Trace, governor: Governor) -> Replay:
    """A governor that sees what such a device tells: a coarse gauge, and of the past only."""

    def choose(device: Device, state: State, moment: Moment, last: Step | None) -> tuple[int, str]:
        nonlocal governor
        ratio = device.battery_ratio(state)
        served = last is not None and last.outcome.answered + last.outcome.missed > 0
        governor = governor.step(
            Signals(
                battery_ratio=None if ratio is None else round(ratio * _GAUGE) / _GAUGE,
                charging=moment.charger_w > 0,
                temperature_c=device.temperature_c(state) if device.most_heat else None,
                time_s=moment.time_s,
                latency_ms=last.outcome.latency_ms * last.moment.noise if last and served else None,
                requests_hz=last.moment.requests / trace.step_s if last else None,
                deadline_ms=moment.deadline_ms,
                until_s=moment.until_s,
            )
        )
        return governor.level, governor.reason

    return _replay(device, trace, governor.levels, choose)


_Choose = Callable[[Device, State, Moment, Step | None], tuple[int, str]]


def _replay(device: Device, trace: Trace, levels: tuple[Level, ...], choose: _Choose) -> Replay:
    state, steps = device.start, list[Step]()
    for moment in trace:
        number, reason = choose(device, state, moment, steps[-1] if steps else None)
        after, outcome = device.advance(state, moment, levels[number], trace.step_s)
        steps.append(Step(moment, state, number, outcome, reason))
        state = after
    return Replay(tuple(steps))
