"""Finds networks that fit a budget by steps that bring them nearer to it, however rare they are."""

from __future__ import annotations

from collections.abc import Sequence, Set
from random import Random
from typing import NamedTuple, final

from nas.budget import Budget, Limit
from nas.errors import BudgetError, SpaceError
from nas.search.judge import Judge, Verdict
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Walk"]

_MOST_STEPS = 4096
_FRESH = 0.2  # share of steps that draw a new network instead of changing the nearest one
_DOUBLE = 0.25  # share of changes that are two at once, which leaves local minima


class _Place(NamedTuple):
    architecture: Architecture
    distance: tuple[int, float]


@final
class Walk:
    """A random walk that never moves away from the budget. It remembers how near it came."""

    def __init__(self, space: SearchSpace, judge: Judge, rng: Random) -> None:
        self._space = space
        self._judge = judge
        self._rng = rng
        self._verdicts: list[Verdict] = []
        self._closest: Verdict | None = None
        self._error: SpaceError | None = None

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
        """Why nothing was found, with the least value found for each limit that stands in the way."""
        if self._closest is None:
            assert self._error is not None, "a walk of no steps found nothing"
            return self._error
        near = self._closest
        tried = len(self._verdicts)
        failing = [limit for limit in budget.limits if near.excess.get(limit.key, 0) > 0]
        alone = [limit for limit in failing if self._least(limit) > limit.bound]
        if not alone:
            names = ", ".join(map(str, budget.limits))
            has = ", ".join(f"{limit.key} {limit.format(near.values[limit.key])}" for limit in budget.limits)
            return BudgetError(
                f"{names} cannot be met together: the closest of {tried} networks has {has}; raise a bound"
            )
        least = "; ".join(self._least_text(limit) for limit in alone)
        return BudgetError(f"{least}; raise the bound")
