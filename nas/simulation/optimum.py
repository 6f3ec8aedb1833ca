"""The best that could have been done with a trace known beforehand, by exact dynamic programming.

Backward over the moments: the value of a state is the greatest sum of accuracies that the requests from then
on can have (Bellman, Dynamic Programming, Princeton University Press, 1957). A device in whole units has
finitely many states, so nothing is rounded that `Device.advance` does not round.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Level
from nas.simulation.device import Device
from nas.simulation.replay import Replay, Step
from nas.simulation.trace import Moment, Trace

__all__ = ["best_replay"]

_Floats = NDArray[np.float64]


def best_replay(device: Device, trace: Trace, levels: Sequence[Level]) -> Replay:
    """The choice of levels with the most accuracy, switching as often as it likes."""
    choices = list[NDArray[np.int8]]()
    value = np.zeros((device.most_charge + 1, device.most_heat + 1))
    for moment in reversed(trace.moments):
        options = np.stack([_value(device, moment, level, trace.step_s, value) for level in levels])
        best = options.argmax(axis=0)
        choices.append(best.astype(np.int8))
        value = np.take_along_axis(options, best[None], axis=0)[0]
    state, steps = device.start, list[Step]()
    for moment, choice in zip(trace.moments, reversed(choices), strict=True):
        number = int(choice[state])
        after, outcome = device.advance(state, moment, levels[number], trace.step_s)
        steps.append(Step(moment, state, number, outcome))
        state = after
    return Replay(tuple(steps))


def _value(device: Device, moment: Moment, level: Level, step_s: float, later: _Floats) -> _Floats:
    """What each state is worth if the level serves this moment, and the best levels the later ones."""
    result = np.empty_like(later)
    heats = np.arange(later.shape[1])
    cool = np.array([device.cooled(int(heat), step_s) for heat in heats])
    hot = (heats >= device.throttle_heat) if device.most_heat else np.zeros(len(heats), bool)
    for throttled, columns in ((False, np.flatnonzero(~hot)), (True, np.flatnonzero(hot))):
        if len(columns):
            result[:, columns] = _served(
                device, moment, level, later, step_s=step_s, throttled=throttled, cool=cool[columns]
            )
    return result


def _served(
    device: Device,
    moment: Moment,
    level: Level,
    later: _Floats,
    *,
    step_s: float,
    throttled: bool,
    cool: NDArray[np.int64],
) -> _Floats:
    """The same for the states whose heat cools down to `cool`, as `Device.advance` has it."""
    taken, given, heat = device.flows(level, moment, step_s, throttled=throttled)
    latency_ms = device.latency_ms(level, moment, throttled)
    late = moment.deadline_ms is not None and latency_ms > moment.deadline_ms
    reward = 0.0 if late else moment.requests * level.accuracy
    charge = np.minimum(device.most_charge, np.arange(len(later)) + given)
    served = charge >= taken
    after = later[np.ix_(np.where(served, charge - taken, 0), np.minimum(device.most_heat, cool + heat))]
    empty = later[0, cool]
    worth: _Floats = np.where(served[:, None], reward + after, empty[None])
    return worth
