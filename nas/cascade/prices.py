"""The best thresholds at a price for each unit of cost.

The best threshold of one exit, given those of the others, follows from one pass over the images in the order
of its confidence. Exits are set in turn, the last first, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from nas.cascade.cost import CascadeCost
from nas.cascade.validation import Validation

__all__ = ["Point", "Prices"]

_STEPS = 100  # thresholds of an exit that are tried
_SWEEPS = 10  # over all exits
_HALVINGS = 40  # of the span of prices
_LOWEST, _HIGHEST = 1e-9, 1e4
"""Prices of all that the last exit costs, in right answers. Not 0, so that of thresholds that are right as
often the cheaper ones are found."""

_FILLS = 1000  # steps between two sets of thresholds
_POLISHES = 3  # over all exits


@final
class Point(NamedTuple):
    """Thresholds and what comes of them."""

    limits: NDArray[np.float64]
    accuracy: float
    cost: float
    deviation: float
    """Of the costs of single images."""


@final
class Prices:
    """Validation images and costs of one network, on which prices and thresholds are tried."""

    def __init__(self, validation: Validation, costs: CascadeCost) -> None:
        self._validation, self._costs = validation, costs
        self.last = validation.exits - 1
        self._order, self._tried, self._leaving = [], [], []
        for sure in validation.confidence.T[: self.last]:
            ascending = np.sort(sure)
            tried = _candidates(ascending, validation.never)
            self._order.append(np.argsort(-sure, kind="stable"))
            self._tried.append(tried)
            self._leaving.append(len(sure) - np.searchsorted(ascending, tried))

    def exits(self, limits: NDArray[np.float64]) -> NDArray[np.intp]:
        """Where each image leaves, (N,)."""
        return self._first(limits, 0)

    def shares(self, limits: NDArray[np.float64]) -> tuple[float, ...]:
        """Of the images that leave at each exit."""
        exits = self.exits(limits)
        return tuple(self._validation.share(exits == exit) for exit in range(self.last + 1))

    def costs(self, limits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of leaving at each exit, (exits,)."""
        asked = np.ones(self.last, bool) if self._validation.asks_all else limits <= 1
        return self._costs.leaving(asked.tolist())

    def point(self, limits: NDArray[np.float64]) -> Point:
        exits, weights = self.exits(limits), self._validation.weights
        each = self.costs(limits)
        more = each[exits] - each[0]  # so that rounding adds nothing where all leave at the first exit
        mean = float(weights @ more)
        accuracy = self._validation.share(self._validation.right[np.arange(len(exits)), exits])
        deviation = float(weights @ np.square(more - mean)) ** 0.5
        return Point(limits, accuracy, mean + float(each[0]), deviation)

    def best(self, price: float, start: NDArray[np.float64]) -> Point:
        """Thresholds none of which alone can be better, where a unit of cost costs `price` of accuracy."""
        limits = start.copy()
        for _ in range(_SWEEPS):
            before = limits.copy()
            for exit in range(self.last - 1, -1, -1):
                limits[exit] = self._best_limit(exit, limits, price)
            if np.array_equal(before, limits):
                break
        return self.point(limits)

    def best_within(self, cheap: Callable[[Point], bool]) -> Point:
        """The most accurate thresholds found that are `cheap`; the cheapest of all where none are."""
        return self._polished(self._boundary(cheap)[0], cheap, _best)

    def least_beyond(self, cheap: Callable[[Point], bool]) -> Point:
        """The cheapest thresholds found that are not `cheap`; the best of all where all are."""
        return self._polished(self._boundary(cheap)[1], lambda point: not cheap(point), _cheapest)

    def _boundary(self, cheap: Callable[[Point], bool]) -> tuple[Point, Point]:
        """Thresholds on both sides of it, as near as they come, or twice the same where all lie on one."""
        never, zeros = np.full(self.last, self._validation.never), np.zeros(self.last)
        unit = float(self._costs.leaving([False] * self.last)[-1])
        low, high = np.log(_LOWEST / unit), np.log(_HIGHEST / unit)
        found = [self.best(_LOWEST / unit, start) for start in (never, zeros)]
        dear, frugal = max(found, key=_best), self.point(zeros)
        if cheap(dear):
            return dear, dear
        if not cheap(frugal):
            return frugal, frugal
        for _ in range(_HALVINGS):
            price = float(np.exp((low + high) / 2))
            found = [self.best(price, start) for start in (frugal.limits, dear.limits, never)]
            point = min(found, key=lambda point: price * point.cost - point.accuracy)
            if cheap(point):
                high, frugal = np.log(price), point
            else:
                low, dear = np.log(price), point
        return self._fill(frugal, dear, cheap)

    def _fill(self, frugal: Point, dear: Point, cheap: Callable[[Point], bool]) -> tuple[Point, Point]:
        """Thresholds between two sets, on both sides of the boundary."""
        ends = np.array(
            [
                [np.searchsorted(tried, point.limits[exit]) for exit, tried in enumerate(self._tried)]
                for point in (frugal, dear)
            ]
        )
        low, high, start = 0, _FILLS, (frugal, dear)
        while high - low > 1:
            middle = (low + high) // 2
            ranks = np.rint(ends[0] + (ends[1] - ends[0]) * (middle / _FILLS)).astype(int)
            limits = np.array([tried[rank] for tried, rank in zip(self._tried, ranks, strict=True)])
            point = self.point(limits)
            if cheap(point):
                low, frugal = middle, point
            else:
                high, dear = middle, point
        # What lies between may be worse than where it began, for neither rises steadily.
        frugal, dear = max(start[0], frugal, key=_best), max(start[1], dear, key=_cheapest)
        return frugal, dear

    def _polished(
        self, point: Point, fits: Callable[[Point], bool], key: Callable[[Point], tuple[float, float]]
    ) -> Point:
        """One threshold after another set to the best that fits."""
        for _ in range(_POLISHES):
            before = point
            for exit, tried in enumerate(self._tried):
                changed = np.repeat(point.limits[None], len(tried), axis=0)
                changed[:, exit] = tried
                point = max([point, *filter(fits, map(self.point, changed))], key=key)
            if point is before:
                break
        return point

    def _best_limit(self, exit: int, limits: NDArray[np.float64], price: float) -> float:
        """The best threshold of one exit."""
        validation, rows = self._validation, np.arange(len(self._validation.weights))
        reach = validation.weights * (self._first(limits[:exit], 0) == exit)
        later = self._first(limits, exit + 1)
        asking, passing = limits.copy(), limits.copy()
        asking[exit], passing[exit] = 0.0, validation.never
        asked, passed = self.costs(asking), self.costs(passing)
        stay = reach * (validation.right[rows, later] - price * asked[later])
        leave = reach * (validation.right[:, exit] - price * asked[exit])
        gains = np.cumsum((leave - stay)[self._order[exit]])
        totals = stay.sum() + np.append(0.0, gains)[self._leaving[exit]]
        totals[-1] = (reach * (validation.right[rows, later] - price * passed[later])).sum()
        return float(self._tried[exit][totals.argmax()])

    def _first(self, limits: NDArray[np.float64], start: int) -> NDArray[np.intp]:
        """The first exit from `start` on whose threshold an image reaches, else the one behind them, (N,)."""
        stop = len(limits)
        found = np.full(len(self._validation.weights), stop)
        for exit in range(stop - 1, start - 1, -1):
            found[self._validation.confidence[:, exit] >= limits[exit]] = exit
        return found


def _best(point: Point) -> tuple[float, float]:
    return point.accuracy, -point.cost


def _cheapest(point: Point) -> tuple[float, float]:
    return -point.cost, point.accuracy


def _candidates(ascending: NDArray[np.float64], never: float) -> NDArray[np.float64]:
    """Thresholds worth trying, ascending: 0, between images at equal shares of them, and never.

    They lie between confidences, so that rounding does not decide where an image leaves.
    """
    distinct, counts = np.unique(ascending, return_counts=True)
    behind = np.cumsum(counts)[:-1]  # so many images lie below each gap
    gaps = np.arange(len(behind))
    if len(gaps) > _STEPS:
        wanted = np.linspace(1, len(ascending) - 1, _STEPS)
        gaps = np.unique(np.searchsorted(behind, wanted).clip(max=len(behind) - 1))
    below, above = distinct[gaps], distinct[gaps + 1]
    between = (below + above) / 2
    rounded = between.astype(np.float32) <= below  # as devices hold it, the lower one would reach it
    between = np.where(rounded, above, between)
    return np.concatenate([[0.0], between[between > 0], [never]])
