"""Finds networks that fit a budget by descents toward it, however rare they are."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from random import Random
from typing import NamedTuple, final

from nas.budget import Budget, Limit
from nas.errors import BudgetError, SpaceError
from nas.search.judge import FAILURES, Judge, Verdict
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Walk"]

_MOST_STEPS = 4096  # 7 to 13 descents in the spaces of search_spaces at 32x32, of which 3 or more end alike
_PATIENCE = 200  # steps that bring a descent no nearer before another begins
_DOUBLE_RATIO = 0.25  # changes that are two at once, which leaves local minima
_MOST_FAILURES = 8  # networks whose costs cannot be asked, before any whose can


@final
class _Place(NamedTuple):
    architecture: Architecture
    rank: tuple[int, float, int]
    """The verdict's distance, and the layers of a network that does not fit: of two that are equally near the
    smaller leads on, such as the one without an exit that keeps features alive. A network that fits has no
    rank over another."""


_FITS = (0, 0.0, 0)


@final
class Walk:
    """Random descents through a space that never move away from the budget; they remember how near they came.

    A descent that comes no nearer is given up and another begun, from a network drawn anew.
    """

    def __init__(self, space: SearchSpace, judge: Judge, rng: Random) -> None:
        self._space = space
        self._judge = judge
        self._rng = rng
        self._steps = 0
        self._failures = 0
        self._answered = False
        self._least: dict[str, float] = {}
        self._skipped: set[str] = set()
        self._closest: Verdict | None = None
        self._unbuildable: SpaceError | None = None

    def find(self, seen: Set[str] = frozenset(), starts: Sequence[Architecture] = ()) -> Architecture | None:
        """A network within the budget whose id is not among `seen`; None where none is found.

        `starts` are networks known to fit; every other descent, the first one too, begins at one of them.
        """
        here, idle, descents = None, _PATIENCE, 0
        for _ in range(_MOST_STEPS):
            if idle >= _PATIENCE:
                known = starts and descents % 2 == 0
                here = _Place(self._rng.choice(starts), _FITS) if known else None
                idle, descents = 0, descents + 1
            idle += 1
            there = self._step(here)
            if there is None:
                continue
            if there.rank == _FITS and there.architecture.id not in seen:
                return there.architecture
            if here is None or there.rank < here.rank:
                here, idle = there, 0
            elif there.rank == here.rank:
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
            remedies = dict.fromkeys(
                "raise the bound" if limit.key in self._least else "name an earlier exit" for limit in alone
            )
            return BudgetError(f"{'; '.join(map(self._nearest, alone))}; {' and '.join(remedies)}")
        return BudgetError(
            f"some network must meet all of the budget and have the exits of the objectives, but none of "
            f"{self._steps} does; the closest: {self._closest.reason}; raise a bound, or name earlier exits"
        )

    def _nearest(self, limit: Limit) -> str:
        if limit.key not in self._least:
            return f"{limit} cannot be met: none of {self._steps} networks has exit {limit.exit}"
        least = limit.format(self._least[limit.key])
        among = " that keep the limits before it" if limit.key in self._skipped else ""
        return f"{limit} cannot be met: the least found in {self._steps} networks{among} is {least}"

    def _step(self, here: _Place | None) -> _Place | None:
        """Another network and its rank; None where the choices do not build one or a cost fails."""
        self._steps += 1
        try:
            architecture = self._draw(here)
        except SpaceError as error:
            self._unbuildable = self._unbuildable or error
            return None
        candidate = Candidate(self._space, architecture)
        try:
            verdict = self._judge(candidate, measuring=False)
        except FAILURES:
            self._failures += 1
            if self._failures >= _MOST_FAILURES and not self._answered:
                raise
            return None
        self._answered = self._answered or not verdict.unasked
        self._skipped.update(verdict.unasked)
        for key, value in verdict.values.items():
            self._least[key] = min(value, self._least.get(key, value))
        if self._closest is None or verdict.distance < self._closest.distance:
            self._closest = verdict
        size = len(candidate.graph.layers) if verdict.violated else 0
        return _Place(architecture, (*verdict.distance, size))

    def _draw(self, here: _Place | None) -> Architecture:
        if here is None:
            return self._space.sample(self._rng)
        neighbor = self._space.mutate(here.architecture, self._rng)
        if self._rng.random() < _DOUBLE_RATIO:
            neighbor = self._space.mutate(neighbor, self._rng)
        return neighbor
