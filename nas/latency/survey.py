"""Measure many networks of a space, each in short visits until two of them agree.

Other programs slow a machine down for fractions of a second, or for minutes, and some of it a reference
network does not see: they take memory bandwidth and caches, which only large networks need. So a network is
not measured for long at one time but visited again later, until its two fastest visits agree; the second
of them counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from time import monotonic, sleep
from typing import final

from nas.bundle import Latency
from nas.errors import SpaceError, TargetError
from nas.graph import Graph
from nas.latency.calibration import Measured
from nas.latency.segments import measure_exit
from nas.latency.target import Target
from nas.space import Architecture, SearchSpace

__all__ = ["PAUSE_S", "VISIT_S", "Visits", "calibrate", "measure_within"]

VISIT_S = 0.1
PAUSE_S = 2.0

_AGREE = 1.02
_MOST_VISITS = 6
_NEW_RATIO = 0.75  # the share of the time after which no network is begun while others do not agree
_APART_RATIO = 0.06  # the share of the time that passes between two visits
_MOST_TRIES = 3
_FAILURES, _LOST = 3, 0.05  # so many networks, and this share, may fail on the target
_REPEATED = 500  # networks in a row that were measured before, at which a space counts as exhausted


@final
class Visits:
    """What visits found of one network: the latency of its last exit, and of one other."""

    def __init__(self) -> None:
        self._exits: dict[int, list[Latency]] = {}

    def add(self, exits: Mapping[int, Latency]) -> None:
        for exit, latency in exits.items():
            self._exits.setdefault(exit, []).append(latency)

    @property
    def exits_ms(self) -> dict[int, float]:
        """Milliseconds to each exit in its second fastest visit, once there are two.

        The fastest alone may have met weights that happened to lie well in memory, as they seldom do.
        """
        return {exit: sorted(found, key=_read_ms)[:2][-1].p50_ms for exit, found in self._exits.items()}

    @property
    def are_settled(self) -> bool:
        """Whether the two fastest agree, or there have been so many that more are in vain."""
        read_ms = sorted(map(_read_ms, self._exits[max(self._exits)]))
        return len(read_ms) >= _MOST_VISITS or (len(read_ms) > 1 and read_ms[1] <= _AGREE * read_ms[0])


def measure_within(measure: Callable[[], Latency], bound_ms: float, *, pause_s: float = PAUSE_S) -> Latency:
    """A measurement whose median keeps the bound; after three that do not, with pauses, the fastest of them.

    What is disturbed only comes out slower, so one measurement that keeps the bound is enough.
    """
    tried: list[Latency] = []
    while len(tried) < _MOST_TRIES:
        if tried:
            sleep(pause_s)
        latency = measure()
        if latency.p50_ms <= bound_ms:
            return latency
        tried.append(latency)
    return min(tried, key=_read_ms)


def _read_ms(latency: Latency) -> float:
    """Not corrected for a slow phase, for corrections err to both sides."""
    return latency.p50_ms * latency.slowdown


def calibrate(
    space: SearchSpace, target: Target, *, seconds: float, seed: int = 0, known: Sequence[Measured] = ()
) -> Iterator[tuple[Measured, ...]]:
    """Measure random networks for so long; gives, after each visit, all measured so far, with `known` ones.

    `TargetError` where the target fails for more than a few networks, or for all there was time for.
    """
    lost: TargetError | None = None
    found = {network.architecture.id: network for network in known}
    proposals = _proposals(space, seed, set(found))
    queue, begin, failures = _Queue(_APART_RATIO * seconds), monotonic(), 0
    while (spent_s := monotonic() - begin) < seconds:
        architecture = queue.pop(spent_s) if spent_s < _NEW_RATIO * seconds else queue.pop()
        if architecture is None:
            architecture = next(proposals, None) or queue.pop()
        if architecture is None:
            break
        try:
            exits = _visit(target, space.graph(architecture))
        except TargetError as error:
            failures, lost = failures + 1, error
            if failures > _FAILURES + _LOST * len(found):
                raise
            continue
        visits = queue.add(architecture, exits, spent_s)
        found[architecture.id] = Measured(architecture, visits.exits_ms)
        yield tuple(found.values())
    if lost and queue.is_untouched:
        raise lost


def _visit(target: Target, graph: Graph) -> dict[int, Latency]:
    """The last exit and, of every second network, more briefly another, always the same."""
    last, number = len(graph.exits) - 1, int(graph.id, 16)
    found = {last: measure_exit(target, graph, seconds=VISIT_S)}
    if last and number % 2:
        early = number // 2 % last
        found[early] = measure_exit(target, graph, early, seconds=VISIT_S / 2)
    return found


@final
class _Queue:
    """Networks that are to be visited again, those first whose last visit was first."""

    def __init__(self, apart_s: float) -> None:
        self._apart_s = apart_s
        self._visits: dict[str, Visits] = {}
        self._waiting: deque[tuple[float, Architecture]] = deque()

    @property
    def is_untouched(self) -> bool:
        """Whether there was no visit."""
        return not self._visits

    def pop(self, now_s: float | None = None) -> Architecture | None:
        """The next network, if there is one; with a time, only if its last visit was long enough before."""
        if not self._waiting or (now_s is not None and now_s < self._waiting[0][0] + self._apart_s):
            return None
        return self._waiting.popleft()[1]

    def add(self, architecture: Architecture, exits: Mapping[int, Latency], at_s: float) -> Visits:
        """Remember a visit."""
        visits = self._visits.setdefault(architecture.id, Visits())
        visits.add(exits)
        if not visits.are_settled:
            self._waiting.append((at_s, architecture))
        return visits


def _proposals(space: SearchSpace, seed: int, seen: set[str]) -> Iterator[Architecture]:
    """Different random networks, until there seem to be no more."""
    rng, repeated = Random(seed), 0
    while repeated < _REPEATED:
        try:
            architecture = space.sample(rng)
        except SpaceError:  # choices that build no network
            repeated += 1
            if repeated == _REPEATED and not seen:
                raise
            continue
        repeated = repeated + 1 if architecture.id in seen else 0
        if not repeated:
            seen.add(architecture.id)
            yield architecture
