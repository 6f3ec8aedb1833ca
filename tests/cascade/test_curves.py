"""Figures of exits, against their definitions and against scikit-learn."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from nas.bundle import Readout
from nas.cascade import (
    CascadeCost,
    Validation,
    budget_curve,
    cost_within,
    exit_answers,
    exit_confusion,
    failure_prediction,
    falling_shares,
    right_from,
    spread_budgets,
)
from nas.errors import BudgetError

COSTS = CascadeCost("macs", (10.0, 15.0, 40.0), (3.0, 3.0, 5.0))


def images(count: int, seed: int) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    heads = [
        (np.eye(4)[labels] * (1 + exit) + rng.normal(size=(count, 4))).astype(np.float32) for exit in range(3)
    ]
    return heads, labels


HEADS, LABELS = images(500, 0)
ANSWERS = Validation.of(HEADS, LABELS)


def test_more_budget_buys_more() -> None:
    budgets = spread_budgets(ANSWERS, COSTS, 5)
    best = cost_within(ANSWERS, COSTS, 1e9)
    assert COSTS.least < budgets[0] and budgets[-1] == pytest.approx(best.cost + best.margin)
    np.testing.assert_allclose(np.diff(np.log(budgets)), np.log(budgets[1] / budgets[0]))
    points = budget_curve(ANSWERS, Validation.of(*images(5000, 1)), COSTS, budgets)
    accuracies = [point.cascade.accuracy for point in points]
    assert accuracies == sorted(accuracies)
    for point in points:
        assert point.cascade.cost + point.cascade.margin <= point.budget
        assert point.other.thresholds == point.cascade.thresholds
        assert point.other.accuracy == pytest.approx(point.cascade.accuracy, abs=0.08)


def test_confusion_of_exits() -> None:
    right = [head.argmax(axis=1) == LABELS for head in HEADS]
    confusion = exit_confusion(ANSWERS)
    for i, first in enumerate(right):
        for j, second in enumerate(right):
            assert confusion[i, j] == pytest.approx((first & ~second).mean())


def test_the_first_exit_that_is_right_for_good() -> None:
    found = right_from(ANSWERS)
    for image, exit in enumerate(found):
        assert ANSWERS.right[image, exit:].all()
        assert exit == 0 or not ANSWERS.right[image, exit - 1]


@pytest.mark.parametrize("exit", range(3))
def test_failure_prediction_is_the_area_under_the_curve(exit: int) -> None:
    expected = roc_auc_score(ANSWERS.right[:, exit], ANSWERS.confidence[:, exit])
    assert failure_prediction(ANSWERS, exit) == pytest.approx(expected)


def test_what_is_always_right_predicts_failure_perfectly() -> None:
    surely = [np.eye(4, dtype=np.float32)[LABELS] * 9] * 2
    assert failure_prediction(Validation.of(surely, LABELS), 0) == 1.0


def test_answers_that_fall() -> None:
    shares = [softmax(head, axis=1) for head in HEADS]
    found = falling_shares(shares, LABELS)
    own = np.array([share[np.arange(500), LABELS] for share in shares])
    pairs = [own[i] - own[j] for i in range(3) for j in range(i + 1, 3)]
    for amount, share in found.items():
        assert share == pytest.approx((np.max(pairs, axis=0) > amount).mean())


def test_a_product_of_experts_falls_less() -> None:
    """What it is for, on exits that see the same image through their own noise."""
    falls = {}
    for combine in ("last", "product"):
        answers = exit_answers([head + 1 for head in HEADS], Readout(combine=combine))
        shares = [softmax(answer.logits, axis=1) for answer in answers]
        falls[combine] = falling_shares(shares, LABELS)[0.2]
    assert falls["product"] < falls["last"]


def test_budgets_where_the_first_exit_is_the_best() -> None:
    """All are the least then, and rounding makes none of them smaller."""
    perfect = [np.eye(4, dtype=np.float32)[LABELS] * 9] * 3
    found = Validation.of(perfect, LABELS)
    for least in range(100_000, 100_400, 7):
        costs = CascadeCost("macs", (float(least), 15.0, 40.0), (3.0, 3.0, 5.0))
        budgets = spread_budgets(found, costs, 4)
        assert min(budgets) >= costs.least and budgets == pytest.approx([costs.least] * 4)


def test_failure_prediction_weighs_images() -> None:
    shares = [0.55, 0.25, 0.15, 0.05]
    weighted = Validation.of(HEADS, LABELS, class_shares=shares)
    for exit in range(3):
        right, sure = weighted.right[:, exit], weighted.confidence[:, exit]
        expected = roc_auc_score(right, sure, sample_weight=weighted.weights)
        assert failure_prediction(weighted, exit) == pytest.approx(expected)
    never = [np.eye(4, dtype=np.float32)[(LABELS + 1) % 4]] * 2
    assert failure_prediction(Validation.of(never, LABELS), 0) == 0.5
    first = [np.eye(4, dtype=np.float32)[np.where(LABELS == 0, 1, LABELS)]] * 2
    assert failure_prediction(Validation.of(first, LABELS, class_shares=[1, 0, 0, 0]), 0) == 0.5


def test_budgets_must_be_some() -> None:
    with pytest.raises(BudgetError, match="must be at least 1 budget, but got 0"):
        spread_budgets(ANSWERS, COSTS, 0)
