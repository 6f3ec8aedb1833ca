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
from nas.errors import DataError
from nas.simulation.device import Device
from nas.simulation.replay import Replay, Step
from nas.simulation.trace import Moment, Trace

__all__ = ["best_replay"]

_Floats = NDArray[np.float64]
_MOST_LEVELS = 255  # a byte for each state and moment


def best_replay(device: Device, trace: Trace, levels: Sequence[Level]) -> Replay:
    """The choice of levels with the most accuracy, switching as often as it likes."""
    if len(levels) > _MOST_LEVELS:
        raise DataError(f"levels must be at most {_MOST_LEVELS}, but are {len(levels)}; leave some out")
    choices = list[NDArray[np.uint8]]()
    value = np.zeros((device.most_charge + 1, device.most_heat + 1))
    for moment in reversed(trace.moments):
        value, choice = _step(device, moment, levels, value, step_s=trace.step_s)
        choices.append(choice)
    state, steps = device.start, list[Step]()
    for moment, choice in zip(trace.moments, reversed(choices), strict=True):
        number = int(choice[state])
        after, outcome = device.advance(state, moment, levels[number], trace.step_s)
        steps.append(Step(moment, state, number, outcome))
        state = after
    return Replay(tuple(steps))


def _step(
    device: Device, moment: Moment, levels: Sequence[Level], later: _Floats, *, step_s: float
) -> tuple[_Floats, NDArray[np.uint8]]:
    """What each state is worth at a moment, and the level that makes it so."""
    heats = np.arange(later.shape[1])
    cool = np.array([device.cooled(int(heat), step_s) for heat in heats])
    hot = (heats >= device.throttle_heat) if device.most_heat else np.zeros(len(heats), bool)
    best = np.full_like(later, -1.0)
    choice = np.zeros(later.shape, np.uint8)
    for throttled, columns in ((False, np.flatnonzero(~hot)), (True, np.flatnonzero(hot))):
        for number, level in enumerate(levels if len(columns) else ()):
            worth = _served(
                device, moment, level, later, step_s=step_s, throttled=throttled, cool=cool[columns]
            )
            here = slice(columns[0], columns[-1] + 1)
            better = worth > best[:, here]
            np.copyto(best[:, here], worth, where=better)
            choice[:, here][better] = number
    return best, choice


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
    """What states are worth whose heat cools down to `cool`, if a level serves the moment.

    As in `Device.advance`: what a charger gives comes first, and an empty battery answers nothing.
    """
    taken, given, heat = device.flows(level, moment, step_s, throttled=throttled)
    reward = moment.requests * device.in_time(level, moment, throttled) * level.accuracy
    after = later[:, np.minimum(device.most_heat, cool + heat)]
    charge = np.minimum(device.most_charge, np.arange(len(later)) + given) - taken
    worth: _Floats = after[np.maximum(charge, 0)] + reward
    worth[charge < 0] = later[0, cool]
    return worth
