"""What a mean budget buys: the network with exits beside networks that spend it on every image alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

import dynamic_batch
import numpy as np
from dynamic_curves import Curve, curve_of, systems_of
from dynamic_systems import is_rival
from numpy.typing import NDArray
from record import Record, Row

__all__ = [
    "Bought",
    "bought",
    "budget_rows",
    "budgeted_figures",
    "budgeted_table",
    "pareto",
    "rivals_of",
]

POINTS = 100.0
NAMES = {"macs": "MACs", "ms": "ms, one by one", "batch_ms": "ms, in batches"}
FORMS = {
    "macs": ("macs", "test_cost", None),
    "ms": ("latency_ms", "single_ms", "single_ms"),
    "batch_ms": ("latency_ms", "batch_ms", "batch_ms"),
}
"""What is spent: the metric of the budgets, the column of what they cost, that of networks of one budget."""


@final
class Bought(NamedTuple):
    """Means over seeds at one budget: what test images took, and test accuracies in percent."""

    form: str
    spent: float
    accuracy: float
    rival: float
    """On the line through the networks of one budget over the logarithm of cost, level beyond its ends."""


def rivals_of(record: Record, task: str) -> list[Curve]:
    """The networks of one budget."""
    return [curve_of(record, task, name) for name in systems_of(record, task) if is_rival(name)]


def bought(record: Record, task: str) -> list[Bought]:
    """At each budget, in MACs, and in wall-clock milliseconds one by one and in batches."""
    found = []
    for form, (metric, column, whole) in FORMS.items():
        costs, accuracies = _line(record, task, whole)
        for rows in budget_rows(record, task, "ours", metric):
            spent = _mean(rows, column)
            rival = float(np.interp(np.log(spent), np.log(costs), accuracies))
            found.append(Bought(form, spent, POINTS * _mean(rows, "test_accuracy"), rival))
    return found


def budget_rows(record: Record, task: str, system: str, metric: str) -> list[list[Row]]:
    """For each budget, from small to large, one row per seed."""
    wanted = (task, system, metric)
    rows = [
        row
        for row in record.rows(dynamic_batch.FILE)
        if (row["task"], row["system"], row["metric"]) == wanted
    ]
    return [rows[place :: dynamic_batch.BUDGETS] for place in range(dynamic_batch.BUDGETS)]


def _line(record: Record, task: str, column: str | None) -> tuple[list[float], list[float]]:
    """Costs and accuracies of the networks of one budget, from cheap to dear; MACs without a column."""
    points = []
    for rival in rivals_of(record, task):
        rows = [
            row
            for row in record.rows(dynamic_batch.WHOLE_FILE)
            if (row["task"], row["system"]) == (task, rival.name)
        ]
        cost = float(rival.macs[-1]) if column is None else _mean(rows, column)
        points.append((cost, POINTS * float(rival.accuracies()[-1])))
    points.sort()
    return [cost for cost, _ in points], pareto([accuracy for _, accuracy in points]).tolist()


def pareto(accuracies: Sequence[float]) -> NDArray[np.float64]:
    """Of networks from cheap to dear: nobody runs one that is worse than a cheaper one."""
    found: NDArray[np.float64] = np.maximum.accumulate(np.asarray(accuracies, np.float64))
    return found


def _mean(rows: Iterable[Row], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))


def budgeted_figures(record: Record, task: str) -> dict[str, float]:
    """How many points the network with exits is ahead, on average over budgets."""
    rows = bought(record, task)
    return {
        f"budgeted_gap_{form}_mean": float(
            np.mean([row.accuracy - row.rival for row in rows if row.form == form])
        )
        for form in FORMS
    }


def budgeted_table(record: Record, task: str) -> str:
    lines = [
        "| mean budget | spent on test | ours, % | networks of one budget, % | ahead |",
        "| --- | --: | --: | --: | --: |",
    ]
    for form, spent, accuracy, rival in bought(record, task):
        told = f"{spent:,.0f}" if form == "macs" else f"{spent:.4f}"
        lines.append(f"| {NAMES[form]} | {told} | {accuracy:.2f} | {rival:.2f} | {accuracy - rival:+.2f} |")
    return "\n".join(lines)
