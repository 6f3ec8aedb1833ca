"""The headline figures of one data set, and its tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import dynamic_answers
import numpy as np
from dynamic_budgeted import budget_rows, budgeted_figures
from dynamic_curves import POINTS, Curve, Floats, curve_of, right_by_seed, standard_errors, systems_of
from dynamic_gaps import Gap, gaps, ratio, static_gaps
from dynamic_systems import OPTIONS, OWN
from numpy.typing import NDArray
from record import Record

__all__ = ["ablation", "figures", "gap_table", "speedup_table", "systems_table"]

LARGER = ("lin_grow", "official")
"""MSDNet at the sizes of its README, where they were trained."""
METRICS = ("macs", "latency_ms")


def figures(record: Record, task: str, heads_share_pct: float) -> dict[str, float | None]:
    own, msdnet = curve_of(record, task, "ours"), curve_of(record, task, "msdnet")
    value, low, high = ratio(own, msdnet, "ms")
    by_ms, by_macs = gaps(own, msdnet, "ms"), gaps(own, msdnet, "macs")
    static = static_gaps(record, task, own, "staged_ms")
    found = {
        "ms_ratio_at_msdnet_last": value,
        "ms_ratio_low": low,
        "ms_ratio_high": high,
        "staged_ms_ratio_at_msdnet_last": ratio(own, msdnet, "staged_ms")[0],
        "anytime_gap_ms_min": min(gap.points + gap.error for gap in by_ms),
        "anytime_gap_ms_min_raw": min(gap.points for gap in by_ms),
        "anytime_gap_macs_min": min(gap.points + gap.error for gap in by_macs),
        "anytime_gap_macs_min_raw": min(gap.points for gap in by_macs),
        "anytime_gap_ms_mean": _mean(by_ms),
        "static_gap_max": max(gap.points - gap.error for gap in static),
        "static_gap_max_raw": max(gap.points for gap in static),
        "static_gap_mean": _mean(static),
        **_budgets(record, task),
        **budgeted_figures(record, task),
        "heads_share_pct": heads_share_pct,
    }
    return {name: None if math.isinf(value) else round(value, 3) for name, value in found.items()}


def _mean(found: Sequence[Gap]) -> float:
    return float(np.mean([gap.points for gap in found]))


def _budgets(record: Record, task: str) -> dict[str, float]:
    by_metric = {metric: budget_rows(record, task, "ours", metric) for metric in METRICS}

    def error(metric: str, spent: str) -> float:
        found = [
            abs(float(row[spent]) / float(row["budget"]) - 1) for rows in by_metric[metric] for row in rows
        ]
        return 100 * float(np.mean(found))

    ratios = [
        np.mean([float(row["batch_speedup"]) / float(row["batch_speedup_predicted"]) for row in rows])
        for budgets in by_metric.values()
        for rows in budgets
    ]
    return {
        "batch_speedup_ratio": float(min(ratios)),
        "budget_error_macs_pct": error("macs", "test_cost"),
        "budget_error_ms_pct": error("latency_ms", "single_ms"),
    }


def systems_table(record: Record, task: str) -> str:
    """Every exit of every system: cost, and accuracy with the standard deviation over seeds."""
    lines = [
        "| system | exit | seeds | MACs | ms | staged ms | test accuracy, % | deviation |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for system in systems_of(record, task):
        if system in OPTIONS:
            continue
        curve = curve_of(record, task, system)
        each = POINTS * curve.right.mean(axis=2)
        for exit in range(each.shape[1]):
            spread = f"{each[:, exit].std(ddof=1):.2f}" if len(each) > 1 else "-"
            lines.append(
                f"| {system} | {exit} | {len(each)} | {curve.macs[exit]:,.0f} | {curve.ms[exit]:.4f} | "
                f"{curve.staged_ms[exit]:.4f} | {each[:, exit].mean():.2f} | {spread} |"
            )
    return "\n".join(lines)


def gap_table(record: Record, task: str) -> str:
    """How far ours is ahead of the other systems at equal cost."""
    own = curve_of(record, task, "ours")
    others = ["msdnet", *(name for name in ("msdnet-ours", *LARGER) if name in systems_of(record, task))]
    lines = ["| beside | by | at | ahead | standard error |", "| --- | --- | --: | --: | --: |"]
    for name in others:
        other = curve_of(record, task, name)
        for cost in ("ms", "staged_ms", "macs"):
            lines += _gap_lines(name, cost, gaps(own, other, cost))
    for cost in ("ms", "staged_ms", "macs"):
        behind = static_gaps(record, task, own, cost)
        ahead = [gap._replace(points=-gap.points) for gap in behind]
        lines += _gap_lines("networks of one budget", cost, ahead)
    told = [f"{name}: {_times(own, curve_of(record, task, name))}" for name in others]
    return (
        "\n".join(lines)
        + "\n\nOur milliseconds over theirs, at the accuracy of their last exit: "
        + ("; ".join(told) + ".")
    )


def _gap_lines(name: str, cost: str, found: Sequence[Gap]) -> list[str]:
    return [
        f"| {name} | {cost.replace('_', ' ')} | "
        f"{gap.cost:{',.0f' if cost == 'macs' else '.4f'}} | {gap.points:+.2f} | {gap.error:.2f} |"
        for gap in found
    ]


def _times(own: Curve, other: Curve) -> str:
    value, low, high = ratio(own, other, "ms")
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if math.isfinite(value) else "not reached"


def speedup_table(record: Record, task: str) -> str:
    """At each budget the speed-up over the last exit for all: in batches, as predicted, and by MACs."""
    lines = [
        "| budget | wall-clock | predicted from segments | predicted from MACs | leave at each exit |",
        "| --- | --: | --: | --: | --- |",
    ]
    for metric in METRICS:
        for rows in budget_rows(record, task, "ours", metric):
            budget, wall, predicted, macs = (
                float(np.mean([float(row[name]) for row in rows]))
                for name in ("budget", "batch_speedup", "batch_speedup_predicted", "macs_speedup")
            )
            shares = np.mean([[float(share) for share in row["shares"].split()] for row in rows], axis=0)
            told = f"{budget:,.0f} MACs" if metric == "macs" else f"{budget:.4f} ms"
            leave = " ".join(f"{share:.0%}" for share in shares)
            lines.append(f"| {told} | {wall:.2f} | {predicted:.2f} | {macs:.2f} | {leave} |")
    return "\n".join(lines)


def ablation(record: Record, task: str) -> str:
    """What each way of teaching exits gains over the main run, in points, on the same seeds."""
    systems = ["ours", *(system for system in systems_of(record, task) if system in OPTIONS)]
    own, val = right_by_seed(record, task, "ours"), dynamic_answers.validated(record, task)
    header = " | ".join(f"exit {exit}" for exit in range(own.shape[1]))
    lines = [
        f"| option | seeds | {header} | mean gain | its standard error | gain on validation |",
        "| --- | --: |" + " --: |" * (own.shape[1] + 3),
    ]
    for system in systems:
        right = right_by_seed(record, task, system)
        pair = [_untimed(each[: len(right)]) for each in (right, own)]
        gained, error = _gained(*(each.accuracies() for each in pair)), "-"
        if len(right) > 1 and system != "ours":
            error = f"{standard_errors(pair, _mean_gained)[0]:.2f}"
        told = np.mean([val[system, seed] - val["ours", seed] for name, seed in val if name == system])
        cells = " | ".join(f"{gain:+.2f}" for gain in gained)
        name = f"{OWN} (main)" if system == "ours" else system
        lines.append(f"| {name} | {len(right)} | {cells} | {gained.mean():+.2f} | {error} | {told:+.2f} |")
    return "\n".join(lines)


def _untimed(right: NDArray[np.bool_]) -> Curve:
    costs = np.zeros(right.shape[1])
    return Curve("untimed", costs, costs, costs, right)


def _gained(option: Floats, own: Floats) -> Floats:
    """At each exit, in points."""
    return POINTS * (option - own)


def _mean_gained(option: Floats, own: Floats) -> Floats:
    return _gained(option, own).mean(keepdims=True)
