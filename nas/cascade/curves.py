"""How good the exits of a network are: what budgets buy, who errs where, and whether answers get worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from nas.cascade.cost import CascadeCost
from nas.cascade.thresholds import SIGMAS, Cascade, cascade_at, cost_within
from nas.cascade.validation import Validation
from nas.errors import BudgetError

__all__ = [
    "BudgetPoint",
    "budget_curve",
    "exit_confusion",
    "failure_prediction",
    "falling_shares",
    "right_from",
    "spread_budgets",
]


@final
class BudgetPoint(NamedTuple):
    """A mean budget, the thresholds solved for it on validation images, and what they do on others."""

    budget: float
    cascade: Cascade
    other: Cascade


def spread_budgets(
    validation: Validation, costs: CascadeCost, count: int, *, sigmas: float = SIGMAS
) -> tuple[float, ...]:
    """So many mean budgets at equal ratios, from above the first exit to what the best accuracy needs."""
    if count < 1:
        raise BudgetError(f"there must be at least 1 budget, but got {count}; ask for some")
    best = cost_within(validation, costs, math.inf, sigmas=sigmas)
    bounds = np.geomspace(costs.least, best.cost + best.margin, count + 1)[1:]
    return tuple(np.maximum(bounds, costs.least).tolist())  # rounding may end below


def budget_curve(
    validation: Validation,
    other: Validation,
    costs: CascadeCost,
    budgets: Sequence[float],
    *,
    sigmas: float = SIGMAS,
) -> tuple[BudgetPoint, ...]:
    """Budgeted batches (https://arxiv.org/abs/1703.09844): for each mean budget the accuracy that it buys."""
    solved = ((budget, cost_within(validation, costs, budget, sigmas=sigmas)) for budget in budgets)
    return tuple(
        BudgetPoint(budget, cascade, cascade_at(other, costs, cascade.thresholds))
        for budget, cascade in solved
    )


def exit_confusion(answers: Validation) -> NDArray[np.float64]:
    """Share of images that exit i, the row, gets right and exit j, the column, wrong, (exits, exits).

    Above the diagonal stands what going on spoils: overthinking (https://arxiv.org/abs/1810.07052).
    """
    right = answers.right.astype(np.float64)
    confusion: NDArray[np.float64] = (right * answers.weights[:, None]).T @ (1 - right)
    return confusion


def right_from(answers: Validation) -> NDArray[np.intp]:
    """The first exit from which on an image is always named right, (N,); the number of exits if none is."""
    wrong = ~answers.right[:, ::-1]
    found: NDArray[np.intp] = answers.exits - np.where(wrong.any(axis=1), wrong.argmax(axis=1), answers.exits)
    return found


def falling_shares(
    probabilities: Sequence[NDArray[np.floating]],
    labels: NDArray[np.integer],
    by: Sequence[float] = (0.01, 0.05, 0.1, 0.2, 0.5),
) -> dict[float, float]:
    """Share of images whose true class is at some exit less likely than before, by more than so much.

    The measure of conditional monotonicity of https://arxiv.org/abs/2306.02652, from (N, K) for each exit.
    """
    rows = np.arange(len(labels))
    own = np.stack([shares[rows, labels] for shares in probabilities])
    falls = (np.maximum.accumulate(own) - own).max(axis=0)
    return {amount: float((falls > amount).mean()) for amount in by}


def failure_prediction(answers: Validation, exit: int) -> float:
    """How often an exit is surer of what it gets right than of what it gets wrong, 0.5 by chance (AUROC).

    This, and not calibration, decides what an early exit is worth (https://arxiv.org/abs/2508.21495). 1 where
    all are right, 0.5 where none is.
    """
    right, sure, weights = answers.right[:, exit], answers.confidence[:, exit], answers.weights
    order = np.argsort(sure[right])
    good, bad = sure[right][order], sure[~right]
    passed = np.append(0.0, np.cumsum(weights[right][order]))  # weight of those less sure
    rights, wrongs = float(passed[-1]), float(weights[~right].sum())
    if not rights or not wrongs:
        return 1.0 if rights else 0.5
    below = passed[np.searchsorted(good, bad, side="left")] + passed[np.searchsorted(good, bad, side="right")]
    return float(1 - (below / 2) @ weights[~right] / (rights * wrongs))
