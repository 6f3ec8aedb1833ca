"""How the exits of one network of a bundle do on images that chose nothing, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Bundle
from nas.cascade import (
    BudgetPoint,
    CascadeCost,
    Validation,
    budget_curve,
    exit_confusion,
    failure_prediction,
    falling_shares,
    right_from,
    spread_budgets,
)
from nas.data import Data
from nas.metric import METRICS
from nas.report.points import measured_exits
from nas.report.tables import Table
from nas.runtime import Prediction, Runtime, exit_predictions

__all__ = ["FALL", "Examples", "ExitReport", "budget_table", "evaluate_exits", "exit_report_table"]

FALL = 0.2
"""Of the probability of an image's class, which is told."""


@final
@dataclass(frozen=True)
class Examples:
    """Images with their labels and what the last exit names them, (N, C, H, W), (N,) and (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    named: NDArray[np.int64]


@final
@dataclass(frozen=True, kw_only=True)
class ExitReport:
    """One network: what it costs to leave at each exit, and how good that is on test images."""

    model: str
    classes: tuple[str, ...]
    costs: CascadeCost
    """In which budgets are: MACs or milliseconds."""
    target: str | None
    """Where these milliseconds were measured."""
    exits: tuple[dict[str, float | int | None], ...]
    """Of each exit: MACs with its head alone, milliseconds if measured, accuracy, failure prediction."""
    budgets: tuple[BudgetPoint, ...]
    confusion: NDArray[np.float64]
    """Share of images that the exit of the row gets right and that of the column wrong."""
    falling: float
    """Share of test images, all alike, whose class becomes on the way less likely by more than `FALL`."""
    hardness: NDArray[np.float64]
    """Share of images, each counted as in accuracies, by the first exit from which on they are named right;
    the last is of all others."""
    easy: Examples
    """The surest right answers of the first exit."""
    hard: Examples
    """Images that the last exit names wrong, the surest first."""

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "target": self.target,
            "exits": list(self.exits),
            "budgets": [
                {
                    "budget": point.budget,
                    "metric": self.costs.metric,
                    "exit": point.cascade.exit,
                    "thresholds": list(point.cascade.thresholds),
                    "validation_accuracy": point.cascade.accuracy,
                    "validation_cost": point.cascade.cost,
                    "margin": point.cascade.margin,
                    "test_accuracy": point.other.accuracy,
                    "test_cost": point.other.cost,
                    "shares": list(point.other.shares),
                }
                for point in self.budgets
            ],
            "confusion": self.confusion.tolist(),
            "falling": self.falling,
            "hardness": self.hardness.tolist(),
        }


def evaluate_exits(
    runtime: Runtime,
    model: str,
    macs: CascadeCost,
    data: Data,
    *,
    budgets: int,
    examples: int,
    times: CascadeCost | None = None,
    target: str | None = None,
) -> ExitReport:
    """Run validation and test images through every exit; thresholds are solved on validation alone.

    Budgets are means of milliseconds where their `times` on a target are known, else of MACs. Accuracies
    count images as the bundle says that the device sees their classes.
    """
    costs = times or macs
    shares = runtime.bundle.provenance.get("class_shares")
    readout = runtime.bundle.model(model).readout
    found = exit_predictions(runtime, model, data.x_test)
    val_answers = exit_predictions(runtime, model, data.x_val)
    val = Validation.of_answers(val_answers, data.y_val, readout, class_shares=shares)
    test = Validation.of_answers(found, data.y_test, readout, class_shares=shares, name="test")
    from_exit = right_from(test)
    probabilities = [answer.probabilities for answer in found]
    return ExitReport(
        model=model,
        classes=runtime.bundle.classes,
        costs=costs,
        target=target,
        exits=_exits(runtime.bundle, model, macs, test, times=times),
        budgets=budget_curve(val, test, costs, spread_budgets(val, costs, budgets)),
        confusion=exit_confusion(test),
        falling=falling_shares(probabilities, data.y_test, [FALL])[FALL],
        hardness=np.bincount(from_exit, test.weights, test.exits + 1).astype(np.float64),
        easy=_surest(found[0], data, from_exit == 0, count=examples),
        hard=_surest(found[-1], data, from_exit == test.exits, count=examples),
    )


def _exits(
    bundle: Bundle, model: str, macs: CascadeCost, test: Validation, *, times: CascadeCost | None
) -> tuple[dict[str, float | int | None], ...]:
    asked = [bundle.model(model).readout.needs_all_heads] * (test.exits - 1)
    counted = macs.leaving(asked)
    known = {
        found.exit: found.latency.p50_ms
        for found in measured_exits(bundle)
        if found.model == model and found.latency and found.thresholds is None
    }
    if times:
        known = dict(enumerate(times.leaving(asked).tolist()))
    return tuple(
        {
            "exit": exit,
            "macs": round(float(counted[exit])),
            "latency_ms": known.get(exit),
            "test_accuracy": accuracy,
            "failure_prediction": failure_prediction(test, exit),
        }
        for exit, accuracy in enumerate(test.accuracies)
    )


def _surest(answer: Prediction, data: Data, of: NDArray[np.bool_], *, count: int) -> Examples:
    candidates = np.flatnonzero(of)
    chosen = candidates[np.argsort(-answer.confidence[candidates], kind="stable")[:count]]
    return Examples(data.x_test[chosen], data.y_test[chosen], answer.labels[chosen])


def exit_report_table(reports: Sequence[ExitReport]) -> Table:
    rows = [
        (
            report.model,
            *(exit[key] for key in ("exit", "macs", "latency_ms", "test_accuracy", "failure_prediction")),
        )
        for report in reports
        for exit in report.exits
    ]
    return Table.of(("model", "exit", "MACs", "ms", "test accuracy", "failure prediction"), rows)


def budget_table(reports: Sequence[ExitReport]) -> Table:
    """For each mean budget what test images come to."""
    heading = METRICS[reports[0].costs.metric].heading
    rows = [
        (
            report.model,
            _told(point.budget, report.costs.metric),
            _told(point.other.cost, report.costs.metric),
            point.other.accuracy,
            " ".join(f"{share:.0%}" for share in point.other.shares),
        )
        for report in reports
        for point in report.budgets
    ]
    return Table.of(
        ("model", f"mean {heading} allowed", "on test", "test accuracy", "leave at each exit"), rows
    )


def _told(cost: float, metric: str) -> float:
    return round(cost) if METRICS[metric].counted else cost
