"""Finds networks that fit a budget by steps that bring them nearer to it, however rare they are."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from random import Random
from typing import NamedTuple, final

from nas.budget import Budget, Limit
from nas.errors import BudgetError, SpaceError
from nas.search.judge import Judge, Verdict
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Walk"]

_MOST_STEPS = 4096
_FRESH_RATIO = 0.2  # steps that draw a new network instead of changing the nearest one
_DOUBLE_RATIO = 0.25  # changes that are two at once, which leaves local minima


@final
class _Place(NamedTuple):
    architecture: Architecture
    distance: tuple[int, float]


@final
class Walk:
    """A random walk through a space that never moves away from the budget, and remembers how near it came."""

    def __init__(self, space: SearchSpace, judge: Judge, rng: Random) -> None:
        self._space = space
        self._judge = judge
        self._rng = rng
        self._steps = 0
        self._least: dict[str, float] = {}
        self._skipped: set[str] = set()
        self._closest: Verdict | None = None
        self._unbuildable: SpaceError | None = None

    def find(self, seen: Set[str] = frozenset(), starts: Sequence[Architecture] = ()) -> Architecture | None:
        """A network within the budget whose id is not among `seen`; None where none is found.

        `starts` are networks known to fit; the walk begins at one of them.
        """
        here = _Place(self._rng.choice(starts), (0, 0.0)) if starts else None
        for _ in range(_MOST_STEPS):
            there = self._step(here)
            if there is None:
                continue
            if there.distance == (0, 0.0) and there.architecture.id not in seen:
                return there.architecture
            if here is None or there.distance <= here.distance:
                here = there
        return None

    def error(self, budget: Budget) -> BudgetError | SpaceError:
        """Why nothing was found, with the closest value found for each limit in the way."""
        if self._closest is None:
            assert self._unbuildable is not None, "a walk that found nothing saw a verdict or an error"
            return self._unbuildable
        failing = [limit for limit in budget.limits if limit.key in self._closest.violated]
        alone = [limit for limit in failing if self._least.get(limit.key, math.inf) > limit.bound]
        if alone:
            return BudgetError(f"{'; '.join(map(self._nearest, alone))}; raise the bound")
        return BudgetError(
            f"some network must meet all of the budget and have the exits of the objectives, but none of "
            f"{self._steps} does; the closest: {self._closest.reason}"
        )

    def _nearest(self, limit: Limit) -> str:
        if limit.key not in self._least:
            return f"{limit} cannot be met: none of {self._steps} networks has exit {limit.exit}"
        least = limit.format(self._least[limit.key])
        among = " that keep the limits before it" if limit.key in self._skipped else ""
        return f"{limit} cannot be met: the least found in {self._steps} networks{among} is {least}"

    def _step(self, here: _Place | None) -> _Place | None:
        """Another network and its distance; None where the choices do not build one."""
        self._steps += 1
        try:
            architecture = self._draw(here)
        except SpaceError as error:
            self._unbuildable = self._unbuildable or error
            return None
        verdict = self._judge(Candidate(self._space, architecture), measuring=False)
        self._skipped.update(verdict.unasked)
        for key, value in verdict.values.items():
            self._least[key] = min(value, self._least.get(key, value))
        if self._closest is None or verdict.distance < self._closest.distance:
            self._closest = verdict
        return _Place(architecture, verdict.distance)

    def _draw(self, here: _Place | None) -> Architecture:
        if here is None or self._rng.random() < _FRESH_RATIO:
            return self._space.sample(self._rng)
        neighbor = self._space.mutate(here.architecture, self._rng)
        if self._rng.random() < _DOUBLE_RATIO:
            neighbor = self._space.mutate(neighbor, self._rng)
        return neighbor
