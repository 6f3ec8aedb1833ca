"""Proposers that know nothing but which networks are good, and look beside them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import final

from nas.search.pool import Pool
from nas.search.proposer import History, Problem, Proposer
from nas.space import Architecture

__all__ = ["Evolution", "LocalSearch"]

_TOURNAMENTS = 8  # before a network from anywhere is proposed


@final
@dataclass(frozen=True)
class LocalSearch(Proposer):
    """Changes one choice of a network of the front.

    White, Nolen and Savani, https://arxiv.org/abs/2005.02960; with several objectives Pareto local search.
    """

    first: int = 20
    """Networks from anywhere before that."""

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        pool = Pool(problem, history, rng)
        if history.begun >= self.first and (history.complete or history.partial):
            front = [trial.architecture for trial in history.best(problem, 1)]
            found = pool.neighbors(front, 1)
            if found:
                return found[0].architecture
        return _anywhere(pool)


@final
@dataclass(frozen=True)
class Evolution(Proposer):
    """Changes one choice of the best of some recent networks: regularized evolution.

    Real et al., https://arxiv.org/abs/1802.01548. Of several objectives the best are those of the first
    front, then those of the next.
    """

    population: int = 20
    tournament: int = 5

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        pool = Pool(problem, history, rng)
        recent = [*history.complete, *history.unfinished][-self.population :]
        if history.begun >= self.population and recent:
            for _ in range(_TOURNAMENTS):
                drawn = rng.sample(recent, min(self.tournament, len(recent)))
                best = History(drawn, (), frozenset()).best(problem, 1)
                found = pool.neighbors([rng.choice(best).architecture], 1)
                if found:
                    return found[0].architecture
        return _anywhere(pool)


def _anywhere(pool: Pool) -> Architecture | None:
    found = pool.random(1)
    return found[0].architecture if found else None
