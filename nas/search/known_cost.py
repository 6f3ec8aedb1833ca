"""The default proposer: what a network costs is known before it is trained, so only the rest is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import final

import numpy as np
from threadpoolctl import threadpool_limits

from nas.pareto import non_dominated
from nas.search.encoding import Array, Encoding, Points
from nas.search.improvement import Cells, Directions, nodes
from nas.search.objective import Objective, losses
from nas.search.pool import Pool
from nas.search.proposer import History, Known, Problem, Proposer
from nas.search.surrogate import GaussianProcess
from nas.search.trial import Trial
from nas.space import Architecture

__all__ = ["KnownCost"]

_ORDER = (2, 0, 4, 1, 3)  # of the first proposals: from the middle of the costs to their ends
_SPREAD_OVER = 100  # random networks, of which the first proposals are a cheap one, a dear one and so on
_PARENTS = 8  # evaluated networks, at least, of which candidates are offspring
_LIKELY = 10  # candidates near which others are drawn
_FEATURES = ("macs", "params")  # costs by which any network is told from others, beside the objectives
_DRAWS = 32
_OF_INTEREST = 0.9  # share of random networks that are no worse than what is of interest
_MOST_BOXES = 100_000  # into which a front may cut the costs
_MARGIN = 0.1  # beyond the dearest network, so that this one adds something too


@final
@dataclass(frozen=True)
class KnownCost(Proposer):
    """Proposes the candidate that is expected to add most to the front, at its known cost.

    A Gaussian process learns from the evaluated networks what cannot be known before. Candidates fit the
    budget and are new: random ones, mutations and crossovers of the best so far, and of the most likely
    candidates.
    """

    candidates: int = 1000
    """Networks among which a proposal is chosen, at most."""

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        # Matrices of some hundred rows are no work for two threads: where a training has the other core, they
        # wait for each other. One also adds in the same order on every machine.
        with threadpool_limits(limits=1, user_api="blas"):
            return self._proposed(problem, history, rng)

    def _proposed(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        pool = Pool(problem, history, rng)
        if history.begun < len(_ORDER) or len(history.complete) + len(history.partial) < 2:
            return _spread(problem, pool, history.begun)
        parents = [trial.architecture for trial in history.best(problem, _PARENTS)]
        share = max(1, 2 * self.candidates // 5)
        found = pool.random(share) + pool.near(parents, share)
        if not found:
            return None
        guess = _Guess(problem, history, found, rng)
        gains = guess.gains(found)
        likely = [found[place].architecture for place in np.argsort(-gains, kind="stable")[:_LIKELY]]
        more = pool.near(likely, self.candidates - len(found))
        if more:
            found, gains = found + more, np.concatenate([gains, guess.gains(more)])
        return found[int(np.argmax(gains))].architecture


def _spread(problem: Problem, pool: Pool, begun: int) -> Architecture | None:
    """A network of that fifth of the costs whose turn it is."""
    cost = problem.known[0].metric if problem.known else _FEATURES[0]
    found = sorted(pool.random(_SPREAD_OVER), key=lambda known: known.values[cost])
    if not found:
        return None
    place = (2 * _ORDER[begun % len(_ORDER)] + 1) * len(found) // (2 * len(_ORDER))
    return found[place].architecture


@final
class _Guess:
    """What is believed of the objectives of candidates, and what they would add to the front."""

    def __init__(self, problem: Problem, history: History, candidates: Sequence[Known], rng: Random) -> None:
        self._learned, self._known = problem.learned, problem.known
        self._metrics = tuple(dict.fromkeys((*_FEATURES, *(each.metric for each in self._known))))
        self._draw = np.random.default_rng(rng.getrandbits(64))
        results = [*((trial, 1.0) for trial in history.complete), *history.partial]
        evaluated = [trial for trial, _ in results]
        pending: list[Known | Trial] = _distinct([*history.unfinished, *history.running])
        everyone: list[Known | Trial] = [*evaluated, *history.running, *candidates]
        choices = [dict(each.architecture.choices) for each in everyone]
        self._encoding = Encoding(choices, self._costs(everyone))
        points = self._points(evaluated, [share for _, share in results])
        self._surrogates = [
            GaussianProcess.fit(points, _losses([objective], evaluated)[:, 0]) for objective in self._learned
        ]
        self._front = _losses((*self._learned, *self._known), history.complete)
        if pending:
            there = self._points(pending)
            believed = np.hstack([self._expected(there), _losses(self._known, pending)])
            self._front = np.concatenate([self._front, believed])
            self._surrogates = [surrogate.believing(there) for surrogate in self._surrogates]
        self._front = self._front[list(non_dominated([tuple(point) for point in self._front]))]
        self._reference = self._interest(candidates)

    def gains(self, candidates: Sequence[Known]) -> Array:
        """What each candidate is expected to add."""
        points, costs = self._points(candidates), _losses(self._known, candidates)
        if len(self._learned) == 1 and (1 + len(self._front)) ** len(self._known) <= _MOST_BOXES:
            values, weights = nodes()
            losses = self._believed(points, [values])[0]
            return Cells(self._front, self._reference).gain(losses, weights, costs)
        normal = self._draw.standard_normal((len(self._learned), _DRAWS))
        learned = self._believed(points, normal)
        draws = [*learned, *np.repeat(costs.T[:, :, None], _DRAWS, 2)]
        return Directions(self._front, self._reference, self._draw).gain(np.stack(draws, -1))

    def _believed(self, points: Points, normal: Sequence[Array] | Array) -> list[Array]:
        """Losses `(candidates, draws)` of each learned objective at these deviations from its mean."""
        beliefs = [surrogate.predict(points) for surrogate in self._surrogates]
        return [
            surrogate.losses(belief.mean[:, None] + belief.deviation[:, None] * values)
            for surrogate, belief, values in zip(self._surrogates, beliefs, normal, strict=True)
        ]

    def _expected(self, points: Points) -> Array:
        columns = self._believed(points, [np.zeros(1)] * len(self._learned))
        return np.hstack([np.empty((len(points[0]), 0)), *columns])

    def _interest(self, candidates: Sequence[Known]) -> Array:
        """The losses beyond which a network is of no interest: worse than nearly all, or dearer than any."""
        expected = self._expected(self._points(candidates))
        worst = np.quantile(expected, _OF_INTEREST, axis=0)
        costs = np.concatenate([self._front[:, len(self._learned) :], _losses(self._known, candidates)])
        span = costs.max(0) - costs.min(0)
        margin = _MARGIN * np.where(span > 0, span, 1.0)  # a cost that all share must not make all gains 0
        return np.concatenate([worst, costs.max(0) + margin])

    def _points(self, networks: Sequence[Known | Trial], shares: Sequence[float] = ()) -> Points:
        """Also with the share of a full training, as its logarithm in a block of its own."""
        choices = [dict(each.architecture.choices) for each in networks]
        trained = np.log(shares) if shares else np.zeros(len(networks))
        return *self._encoding(choices, self._costs(networks)), trained[:, None]

    def _costs(self, networks: Sequence[Known | Trial]) -> Array:
        return np.array([[each.values[metric] for metric in self._metrics] for each in networks])


def _distinct(networks: Sequence[Known | Trial]) -> list[Known | Trial]:
    return list({each.architecture.id: each for each in networks}.values())


def _losses(objectives: Sequence[Objective], networks: Sequence[Known | Trial]) -> Array:
    """`(networks, objectives)`"""
    rows = [losses(objectives, network.values) for network in networks]
    return np.array(rows, dtype=float).reshape(len(networks), len(objectives))
