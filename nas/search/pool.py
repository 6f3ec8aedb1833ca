"""Draws networks that are new and fit the budget, by the thousand, however few of the space do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import final

from nas.choices import Answer, Option
from nas.errors import SpaceError
from nas.search.proposer import History, Known, Problem
from nas.space import Architecture

__all__ = ["Pool"]

_TRIED = 32  # random networks, after which it is asked whether it is worth going on with them
_LEAST_SHARE = 0.1  # of random networks that fit; where fewer do, networks are reached from those that fit
_PATIENCE = 100  # draws in a row that give no new network
_TRIES = 2  # draws per network wanted, at most; one where the budget turned out to be tight
_CROSSED = 0.4  # share of offspring that has two parents
_TWICE = 0.25  # share of mutations that change a second choice


@final
class Pool:
    """Networks that fit the budget and that no trial had, none of them twice.

    Random ones are drawn while enough of them fit. In a tight budget they are reached by steps from networks
    that fit, of which none leaves the budget.
    """

    def __init__(self, problem: Problem, history: History, rng: Random) -> None:
        self._problem = problem
        self._seen = set(history.seen)
        reached = [history.reached] if history.reached else []
        done = [*history.complete, *history.unfinished]
        self._starts = reached + [trial.architecture for trial in done]
        self._rng = rng
        self._tried = self._missed = 0

    def random(self, count: int) -> list[Known]:
        """Networks from all over the space; fewer where it has no more."""
        return self._draw(count, self._anywhere)

    def near(self, parents: Sequence[Architecture], count: int) -> list[Known]:
        """Mutations of one choice, seldom two, and crossovers of networks; fewer where there are no more."""
        return self._draw(count, lambda: self._assess(lambda: self._offspring(parents)))

    def neighbors(self, parents: Sequence[Architecture], count: int) -> list[Known]:
        """Mutations of one choice; fewer where there are no more."""
        mutate, rng = self._problem.space.mutate, self._rng
        return self._draw(count, lambda: self._assess(lambda: mutate(rng.choice(parents), rng)))

    def _draw(self, count: int, draw: Callable[[], Known | None]) -> list[Known]:
        found: list[Known] = []
        idle = 0
        tries = 1 if self._is_tight else _TRIES
        for _ in range(max(_PATIENCE, tries * count)):
            if len(found) == count or idle == _PATIENCE:
                break
            known = draw()
            idle += 1
            if known is not None and known.fits:
                self._seen.add(known.architecture.id)
                found.append(known)
                idle = 0
        return found

    def _assess(self, draw: Callable[[], Architecture]) -> Known | None:
        """What is drawn, with its costs; None where it builds no network, or one that was seen."""
        try:
            architecture = draw()
        except SpaceError:
            return None
        return None if architecture.id in self._seen else self._problem.assess(architecture)

    def _anywhere(self) -> Known | None:
        if self._starts and self._is_tight:
            return self._drift()
        known = self._assess(lambda: self._problem.space.sample(self._rng))
        self._tried += 1
        self._missed += known is not None and not known.fits
        return known

    @property
    def _is_tight(self) -> bool:
        """Whether few random networks fit, so that others are dear."""
        return self._tried >= _TRIED and self._tried - self._missed < _LEAST_SHARE * self._tried

    def _drift(self) -> Known | None:
        """A mutation of a network that fits; if it fits too, later ones go on from there, ever farther."""
        known = self._assess(partial(self._problem.space.mutate, self._rng.choice(self._starts), self._rng))
        if known is not None and known.fits:
            self._starts.append(known.architecture)
        return known

    def _offspring(self, parents: Sequence[Architecture]) -> Architecture:
        space, rng = self._problem.space, self._rng
        one = rng.choice(parents)
        if rng.random() < _CROSSED:
            return space.resolve(_crossing(one, rng.choice(parents), rng))
        child = space.mutate(one, rng)
        return space.mutate(child, rng) if rng.random() < _TWICE else child


def _crossing(one: Architecture, other: Architecture, rng: Random) -> Answer:
    """Each choice as in one parent or the other, and at random where neither has it."""
    parents = dict(one.choices), dict(other.choices)

    def answer(name: str, options: Sequence[Option]) -> Option:
        for parent in parents if rng.random() < 0.5 else reversed(parents):
            if name in parent and parent[name] in options:
                return parent[name]
        return rng.choice(options)

    return answer
