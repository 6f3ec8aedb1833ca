"""Time a network in rounds, beside a reference network, until the result is narrow or the time is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import final

import numpy as np

from nas.latency.power import PowerMeter
from nas.latency.timing import Timing, precision

__all__ = ["Pass", "Stopwatch"]

Pass = Callable[[], Sequence[float]]
"""Runs models one after another and gives the seconds that each took."""

_ROUND_S = 1e-3  # short, so that some rounds fall between the disturbances of a busy machine
_LEAST_ROUNDS, _MOST_PASSES = 4, 25
_REFERENCE_PASSES = 5
_WARM_UP = 3
_FIRST_LOOK_S = 0.1
_NARROW = 1.01
_QUIET = 1.02
_LOOK_EACH = 8  # rounds
_LOADS = 4  # the least of which one lies well in memory
_LOADED_S = 0.025
_LOAD_RATIO = 0.25  # the most of the time that goes into loading


@final
class Stopwatch:
    """Times networks on the machine of this process, and remembers how fast its reference network can be.

    The clock is `time.perf_counter`. Affinity is left to the system: on a shared machine a thread must be
    able to leave a core that others use; start the process under `taskset` to pin it.
    """

    def __init__(
        self, reference: Pass, floor_s: float | None = None, *, meter: PowerMeter | None = None
    ) -> None:
        self._reference = reference
        self._meter = meter
        self._floor_s = self._warmed_up() if floor_s is None else floor_s

    @property
    def floor_s(self) -> float:
        """The least median time of the reference network so far."""
        return self._floor_s

    def time(self, load: Callable[[], Pass], *, seconds: float, target: str) -> Timing:
        """Time what `load` loads for at most so many seconds, once it is loaded, but in four rounds at least.

        It is loaded several times: a network whose weights come to lie so that they share lines of a cache
        is slower.
        """
        load_s = -perf_counter()
        run, lasted_s = _loaded(load)
        begin = loaded_at_s = perf_counter()
        load_s, loads = load_s + begin, 1
        passes = min(_MOST_PASSES, max(1, round(_ROUND_S / max(lasted_s, 1e-9))))
        rounds: list[list[Sequence[float]]] = []
        beside_s: list[float] = []
        mean_w = self._meter.start() if self._meter else None
        while True:
            beside_s.append(self._reference_s())
            rounds.append([run() for _ in range(passes)])
            now_s = perf_counter()
            settling = loads >= _LOADS and len(rounds) % _LOOK_EACH == 0
            over = now_s - begin >= seconds and len(rounds) >= _LEAST_ROUNDS
            awaited_s = self._meter.least_s if self._meter else 0.0
            settling = settling and now_s - begin >= min(awaited_s, seconds)
            if over or (settling and self._is_settled(rounds, beside_s)):
                break
            if now_s - loaded_at_s > max(_LOADED_S, load_s / _LOAD_RATIO):
                run, _ = _loaded(load)
                loaded_at_s, loads = perf_counter(), loads + 1
        self._floor_s = min(self._floor_s, *beside_s)
        power_w = mean_w() if mean_w else None
        return Timing(tuple(map(np.array, rounds)), tuple(beside_s), self._floor_s, target, power_w)

    def _is_settled(self, rounds: Sequence[Sequence[Sequence[float]]], beside_s: Sequence[float]) -> bool:
        medians_s = [median(map(sum, times_s)) for times_s in rounds]
        return precision(medians_s) <= _NARROW and min(beside_s) <= _QUIET * self._floor_s

    def _reference_s(self) -> float:
        return median(sum(self._reference()) for _ in range(_REFERENCE_PASSES))

    def _warmed_up(self) -> float:
        """The least time of the reference network in a first look."""
        begin, floor_s = perf_counter(), self._reference_s()
        while perf_counter() - begin < _FIRST_LOOK_S:
            floor_s = min(floor_s, self._reference_s())
        return floor_s


def _loaded(load: Callable[[], Pass]) -> tuple[Pass, float]:
    """What is loaded, warmed up, and about how long a pass takes."""
    run = load()
    return run, min(sum(run()) for _ in range(_WARM_UP))
