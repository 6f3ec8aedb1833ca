"""Thresholds from a budget: how sure each exit must be so that images cost so much on average."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from nas.budget import Budget
from nas.cascade.cost import CascadeCost
from nas.cascade.prices import Point, Prices
from nas.cascade.validation import Validation
from nas.errors import BudgetError, SpaceError

__all__ = ["SIGMAS", "Cascade", "accuracy_reaching", "cascade_at", "cost_within"]

SIGMAS = 1.645
"""Standard errors kept free: of 100 such validations 95 put what is to be expected on the right side."""

_ROUNDING = 1e-9


@final
@dataclass(frozen=True)
class Cascade:
    """Thresholds of a network, and what came of them on validation images."""

    thresholds: tuple[float, ...]
    """Of each exit but the last; above 1 where an exit is not asked."""
    exit: int
    """Where every image has left."""
    accuracy: float
    cost: float
    """Mean, in the metric of the costs."""
    most: float
    """Cost of an image that leaves at the last of these exits."""
    margin: float
    """What was kept free of the cost or, where accuracy was bounded, of that."""
    shares: tuple[float, ...]
    """Of the images that leave at each exit of the network."""


def cost_within(
    validation: Validation, costs: CascadeCost, budget: float | str, *, sigmas: float = SIGMAS
) -> Cascade:
    """The most accurate cascade found whose mean cost is at most `budget`, such as `"latency<=0.2ms"`.

    A number is in the metric of the costs. So that what is to be expected of other images keeps it, the
    mean on validation stays `sigmas` standard errors below. A budget below the cost of the first exit is a
    `BudgetError` that says this least.
    """
    _check(validation, costs, sigmas)
    bound = _bound(budget, costs.metric)
    if not bound >= costs.least:
        raise BudgetError(
            f"a mean {costs.metric} must be at least that of the first exit, {costs.least:.6g}, but the "
            f"budget is {bound:.6g}; raise it"
        )

    def margin(point: Point) -> float:
        return sigmas * point.deviation / math.sqrt(validation.images)

    prices = Prices(validation, costs)
    point = prices.best_within(lambda point: point.cost + margin(point) <= bound)
    return _closed(_cascade(prices, point, margin(point)))


def accuracy_reaching(
    validation: Validation, costs: CascadeCost, accuracy: float, *, sigmas: float = SIGMAS
) -> Cascade:
    """The cheapest cascade found with at least this accuracy, and `sigmas` standard errors more.

    Where none has, that is a `BudgetError` that says the most.
    """
    _check(validation, costs, sigmas)
    if not 0 <= accuracy <= 1:
        raise BudgetError(f"an accuracy must be from 0 to 1, but got {accuracy}; give such a share")

    def margin(point: Point) -> float:
        return point.accuracy - _lower_bound(point.accuracy, validation.images, sigmas)

    prices = Prices(validation, costs)
    point = prices.least_beyond(lambda point: point.accuracy - margin(point) < accuracy - _ROUNDING)
    most = point.accuracy - margin(point)
    if most < accuracy - _ROUNDING:
        raise BudgetError(
            f"an accuracy must be within reach of the network, but the most that is sure is {most:.4f}, "
            f"{margin(point):.4f} below that on validation, and not {accuracy:.4f}; ask for less"
        )
    return _closed(_cascade(prices, point, margin(point)))


def cascade_at(validation: Validation, costs: CascadeCost, thresholds: tuple[float, ...]) -> Cascade:
    """What comes of given thresholds, one from 0 on per exit but the last; an exit above 1 is not asked."""
    _check(validation, costs, 0.0)
    expected, most = validation.exits - 1, validation.never if validation.never <= 1 else math.inf
    if len(thresholds) != expected or not all(0 <= value <= most for value in thresholds):
        rule = f"thresholds must be {expected} numbers of at least 0, one per exit but the last"
        limit = " and at most 1, for an exit that is not asked cannot agree" if most == 1 else ""
        raise BudgetError(f"{rule}{limit}, but got {thresholds}; give such ones")
    prices = Prices(validation, costs)
    return _cascade(prices, prices.point(np.array(thresholds, np.float64)), 0.0)


def _closed(cascade: Cascade) -> Cascade:
    """The same, with no image that goes on behind the exit where all of validation have left."""
    if cascade.exit == len(cascade.thresholds):
        return cascade
    thresholds = list(cascade.thresholds)
    thresholds[cascade.exit] = 0.0
    return replace(cascade, thresholds=tuple(thresholds))


def _lower_bound(share: float, count: float, sigmas: float) -> float:
    """Wilson's, which is not sure of everything where all of a few images are named right."""
    square = sigmas**2 / count
    width = sigmas * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (share + square / 2 - width) / (1 + square)


def _bound(budget: float | str, metric: str) -> float:
    if not isinstance(budget, str):
        return budget
    limits = Budget.parse(budget).limits
    if [(limit.metric, limit.exit) for limit in limits] != [(metric, None)]:
        raise BudgetError(
            f"a budget must limit the mean {metric} and nothing else, but got {budget!r}; give such a one, "
            "or costs of its metric"
        )
    return limits[0].bound


def _check(validation: Validation, costs: CascadeCost, sigmas: float) -> None:
    if costs.exits != validation.exits:
        raise SpaceError(
            f"costs must be of the network's {validation.exits} exits, but are of {costs.exits}; "
            "give those of the same network"
        )
    if validation.exits == 1:
        raise SpaceError(
            "a network must have at least 2 exits to have thresholds, but has 1; choose one with early exits"
        )
    if not 0 <= sigmas < np.inf:
        raise BudgetError(f"sigmas must be at least 0 and finite, but got {sigmas}; 1.645 keeps 95 of 100")


def _cascade(prices: Prices, point: Point, margin: float) -> Cascade:
    shares = prices.shares(point.limits)
    deepest = max(exit for exit, share in enumerate(shares) if share > 0)
    return Cascade(
        thresholds=tuple(point.limits.tolist()),
        exit=deepest,
        accuracy=point.accuracy,
        cost=point.cost,
        most=float(prices.costs(point.limits)[deepest]),
        margin=margin,
        shares=shares,
    )
