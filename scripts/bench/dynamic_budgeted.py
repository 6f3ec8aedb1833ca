"""What a mean budget buys: the network with exits beside networks that spend it on every image alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, final

import dynamic_batch
import numpy as np
from dynamic_answers import right_of
from dynamic_curves import POINTS, Curve, Floats, curve_of, standard_errors, systems_of
from dynamic_systems import is_rival
from record import Record, Row

__all__ = [
    "Bought",
    "bought",
    "budget_rows",
    "budgeted_figures",
    "budgeted_table",
    "pareto",
    "rivals_of",
    "whole_cost",
]

NAMES = {"macs": "MACs", "ms": "ms, one by one", "batch_ms": "ms, in batches"}
FORMS = {
    "macs": ("macs", "test_cost", None),
    "ms": ("latency_ms", "single_ms", "single_ms"),
    "batch_ms": ("latency_ms", "batch_ms", "batch_ms"),
}
"""What is spent: the metric of the budgets, the column of what they cost, that of networks of one budget."""


@final
class Bought(NamedTuple):
    """At one budget, means over seeds: what test images took, and accuracies on them in percent."""

    form: str
    spent: float
    accuracy: float
    rival: float
    """On the line through the networks of one budget over the logarithm of cost, level beyond its ends."""
    error: float
    """Standard error of the difference."""


def rivals_of(record: Record, task: str) -> list[Curve]:
    """The networks of one budget."""
    return [curve_of(record, task, name) for name in systems_of(record, task) if is_rival(name)]


def bought(record: Record, task: str, form: str) -> list[Bought]:
    """At each budget, in MACs, or in wall-clock milliseconds one by one or in batches."""
    own, rivals, costs = _compared(record, task, form)
    spent = own.costs("macs")
    raw = _ahead(spent, costs)(own.accuracies(), *(rival.accuracies() for rival in rivals))
    errors = standard_errors([own, *rivals], _ahead(spent, costs))
    return [
        Bought(form, cost, POINTS * accuracy, POINTS * accuracy - gap, error)
        for cost, accuracy, gap, error in zip(
            spent.tolist(), own.accuracies().tolist(), raw.tolist(), errors.tolist(), strict=True
        )
    ]


def _ahead(spent: Floats, costs: Sequence[float]) -> Callable[..., Floats]:
    """How many points ours is ahead at what it spent, given accuracies of its budgets and of each rival."""

    def ahead(own: Floats, *rivals: Floats) -> Floats:
        front = pareto([float(rival[-1]) for rival in rivals])
        return POINTS * (own - np.interp(np.log(spent), np.log(costs), front))

    return ahead


def _compared(record: Record, task: str, form: str) -> tuple[Curve, list[Curve], list[float]]:
    """Ours as a curve over budgets, the networks of one budget from cheap to dear, and their costs."""
    metric, column, whole = FORMS[form]
    budgets = budget_rows(record, task, "ours", metric)
    spent = np.array([_mean(rows, column) for rows in budgets])
    right = np.array([[right_of(row) for row in rows] for rows in budgets]).swapaxes(0, 1)
    rivals = rivals_of(record, task)
    costs = {rival.name: whole_cost(record, task, rival, whole) for rival in rivals}
    rivals.sort(key=lambda rival: costs[rival.name])
    return Curve("ours", spent, spent, spent, right), rivals, sorted(costs.values())


def whole_cost(record: Record, task: str, rival: Curve, column: str | None) -> float:
    """What a network of one budget took; MACs without a column."""
    if column is None:
        return float(rival.macs[-1])
    rows = record.rows(dynamic_batch.WHOLE_FILE)
    return _mean([row for row in rows if (row["task"], row["system"]) == (task, rival.name)], column)


def budget_rows(record: Record, task: str, system: str, metric: str) -> list[list[Row]]:
    """For each budget, from small to large, one row per seed."""
    wanted = (task, system, metric)
    rows = [
        row
        for row in record.rows(dynamic_batch.FILE)
        if (row["task"], row["system"], row["metric"]) == wanted
    ]
    return [rows[place :: dynamic_batch.BUDGETS] for place in range(dynamic_batch.BUDGETS)]


def pareto(accuracies: Sequence[float]) -> Floats:
    """Of networks from cheap to dear: nobody runs one that is worse than a cheaper one."""
    found: Floats = np.maximum.accumulate(np.asarray(accuracies, np.float64))
    return found


def _mean(rows: Iterable[Row], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))


def budgeted_figures(record: Record, task: str) -> dict[str, float]:
    """How many points the network with exits is ahead, on average over budgets, and how sure that is."""
    found = {}
    for form in FORMS:
        own, rivals, costs = _compared(record, task, form)
        ahead = _ahead(own.costs("macs"), costs)

        def mean(*accuracies: Floats, ahead: Callable[..., Floats] = ahead) -> Floats:
            return np.array([ahead(*accuracies).mean()])

        value = mean(own.accuracies(), *(rival.accuracies() for rival in rivals))
        found[f"budgeted_gap_{form}_mean"] = float(value[0])
        found[f"budgeted_gap_{form}_error"] = float(standard_errors([own, *rivals], mean)[0])
    return found


def budgeted_table(record: Record, task: str) -> str:
    lines = [
        "| spent in | spent on test | go on | ours, % | networks of one budget, % | ahead | standard error |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for form, (metric, *_) in FORMS.items():
        budgets = budget_rows(record, task, "ours", metric)
        for rows, (_, spent, accuracy, rival, error) in zip(budgets, bought(record, task, form), strict=True):
            told = f"{spent:,.0f}" if form == "macs" else f"{spent:.4f}"
            go_on = 1 - float(np.mean([float(row["shares"].split()[0]) for row in rows]))
            lines.append(
                f"| {NAMES[form]} | {told} | {go_on:.1%} | {accuracy:.2f} | {rival:.2f} | "
                f"{accuracy - rival:+.2f} | {error:.2f} |"
            )
    return "\n".join(lines)
