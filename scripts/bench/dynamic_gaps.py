"""How far systems are apart at equal cost, in points of test accuracy, and how sure that is."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np
from dynamic_budgeted import pareto, rivals_of
from dynamic_curves import POINTS, Curve, Floats, isotonic, resampled, standard_errors
from record import Record

__all__ = ["Gap", "gaps", "ratio", "static_gaps"]


@final
class Gap(NamedTuple):
    """At a cost."""

    cost: float
    points: float
    error: float
    """Standard error, of images and seeds."""


def gaps(own: Curve, other: Curve, cost: str) -> list[Gap]:
    """How far ours is ahead at the costs of all exits of both, from the dearer of the first exits on."""
    ours, theirs = own.costs(cost), other.costs(cost)
    costs = np.unique(np.concatenate([ours, theirs]))
    costs = costs[costs >= max(ours[0], theirs[0])]

    def ahead(first: Floats, second: Floats) -> Floats:
        return POINTS * (_reached(ours, first, costs) - _reached(theirs, second, costs))

    raw = ahead(own.accuracies(), other.accuracies())
    return _told(costs, raw, standard_errors([own, other], ahead))


def static_gaps(record: Record, task: str, own: Curve, cost: str) -> list[Gap]:
    """How far ours is behind the networks of one budget at the cost of each of its exits.

    Between them the line over the logarithm of the cost counts, which is in their favor.
    """
    rivals = sorted(rivals_of(record, task), key=lambda rival: rival.costs(cost)[-1])
    costs = np.log([rival.costs(cost)[-1] for rival in rivals])
    levels = np.log(own.costs(cost))

    def behind(first: Floats, *others: Floats) -> Floats:
        front = pareto([float(other[-1]) for other in others])
        return POINTS * (np.interp(levels, costs, front) - isotonic(first.tolist()))

    raw = behind(own.accuracies(), *(rival.accuracies() for rival in rivals))
    return _told(np.exp(levels), raw, standard_errors([own, *rivals], behind))


def ratio(own: Curve, other: Curve, cost: str) -> tuple[float, float, float]:
    """Our cost of what the last exit of the other is right of over its own, with a 90 % interval.

    Infinite where our last exit is not as accurate. Of three seeds resamples show too little, so the interval
    is rather too narrow.
    """

    def found(first: Floats, second: Floats) -> Floats:
        there = np.flatnonzero(isotonic(first.tolist()) >= isotonic(second.tolist())[-1])
        return np.array(own.costs(cost)[there[0]] / other.costs(cost)[-1] if len(there) else np.inf)

    value = float(found(own.accuracies(), other.accuracies()))
    low, high = np.percentile(resampled([own, other], found), (5, 95), method="nearest").tolist()
    return value, low, high


def _told(costs: Floats, points: Floats, errors: Floats) -> list[Gap]:
    return [Gap(*each) for each in zip(costs.tolist(), points.tolist(), errors.tolist(), strict=True)]


def _reached(costs: Floats, accuracies: Floats, at: Floats) -> Floats:
    """What a system answers that is stopped at these costs: the exit reached, on the isotonic curve."""
    found: Floats = isotonic(accuracies.tolist())[np.searchsorted(costs, at, side="right") - 1]
    return found
