"""The headline figures of one data set, and its tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from dynamic_budgeted import budget_rows, budgeted_figures, rivals_of
from dynamic_curves import Curve, curve_of, isotonic, resampled, standard_errors, systems_of
from dynamic_systems import OPTIONS, OWN, level_exits
from numpy.typing import NDArray
from record import Record

__all__ = ["ablation", "figures", "gaps", "systems_table"]

POINTS = 100.0  # accuracies are told in percent points


def figures(record: Record, task: str, heads_share_pct: float) -> dict[str, float | None]:
    own, msdnet = curve_of(record, task, "ours"), curve_of(record, task, "msdnet")
    ratio, low, high = _ratio(own, msdnet)
    by_ms, by_macs = gaps(own, msdnet, "ms"), gaps(own, msdnet, "macs")
    static = static_gaps(record, task, own, "ms")
    found = {
        "ms_ratio_at_msdnet_last": ratio,
        "ms_ratio_low": low,
        "ms_ratio_high": high,
        "anytime_gap_ms_min": min(gap + error for _, gap, error in by_ms),
        "anytime_gap_ms_min_raw": min(gap for _, gap, _ in by_ms),
        "anytime_gap_macs_min": min(gap + error for _, gap, error in by_macs),
        "anytime_gap_macs_min_raw": min(gap for _, gap, _ in by_macs),
        "anytime_gap_ms_mean": float(np.mean([gap for _, gap, _ in by_ms])),
        "static_gap_max": max(gap - error for _, gap, error in static),
        "static_gap_max_raw": max(gap for _, gap, _ in static),
        "static_gap_mean": float(np.mean([gap for _, gap, _ in static])),
        **_budgets(record, task),
        **budgeted_figures(record, task),
        "heads_share_pct": heads_share_pct,
    }
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


def gaps(own: Curve, other: Curve, cost: str) -> list[tuple[float, float, float]]:
    """At the costs of all exits from the dearer of the first ones on: cost, points ahead, standard error."""
    ours, theirs = own.costs(cost), other.costs(cost)
    costs = np.unique(np.concatenate([ours, theirs]))
    costs = costs[costs >= max(ours[0], theirs[0])]

    def ahead(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        return POINTS * (_reached(ours, first, costs) - _reached(theirs, second, costs))

    raw = ahead(own.accuracies(), other.accuracies())
    errors = standard_errors([own, other], ahead)
    return list(zip(costs.tolist(), raw.tolist(), errors.tolist(), strict=True))


def static_gaps(record: Record, task: str, own: Curve, cost: str) -> list[tuple[float, float, float]]:
    """At the levels of our network that have rivals: cost, points behind, standard error.

    Between networks of one budget the line over the logarithm of the cost counts, which is in their favor.
    """
    rivals = rivals_of(record, task)
    rivals.sort(key=lambda rival: rival.costs(cost)[-1])
    costs = np.log([rival.costs(cost)[-1] for rival in rivals])
    exits = list(level_exits(len(own.macs)))
    levels = np.log(own.costs(cost)[exits])

    def behind(first: NDArray[np.float64], *others: NDArray[np.float64]) -> NDArray[np.float64]:
        front = isotonic([other[-1] for other in others])
        return POINTS * (np.interp(levels, costs, front) - isotonic(first.tolist())[exits])

    raw = behind(own.accuracies(), *(rival.accuracies() for rival in rivals))
    errors = standard_errors([own, *rivals], behind)
    return list(zip(np.exp(levels).tolist(), raw.tolist(), errors.tolist(), strict=True))


def _ratio(own: Curve, msdnet: Curve) -> tuple[float | None, float | None, float | None]:
    """Our time to the accuracy of MSDNet's last exit over its own, with a 90 % interval."""

    def ratio(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        there = np.flatnonzero(isotonic(first.tolist()) >= isotonic(second.tolist())[-1])
        return np.array(own.ms[there[0]] / msdnet.ms[-1] if len(there) else np.inf)

    value = float(ratio(own.accuracies(), msdnet.accuracies()))
    low, high = np.percentile(resampled([own, msdnet], ratio), (5, 95), method="nearest").tolist()
    finite = [None if np.isinf(each) else each for each in (value, low, high)]
    return finite[0], finite[1], finite[2]


def _reached(
    costs: NDArray[np.float64], accuracies: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a system answers that is stopped at these costs: the exit reached, on the isotonic curve."""
    found: NDArray[np.float64] = isotonic(accuracies.tolist())[np.searchsorted(costs, at, side="right") - 1]
    return found


def _budgets(record: Record, task: str) -> dict[str, float]:
    by_metric = {metric: budget_rows(record, task, "ours", metric) for metric in ("macs", "latency_ms")}

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


def ablation(record: Record, task: str) -> str:
    """What each way of teaching exits gains over the sum of their losses, in points, on the same seeds."""
    accuracies = _option_accuracies(record, task)
    plain = accuracies[OWN]
    exits = len(next(iter(plain.values())))
    header = " | ".join(f"exit {exit}" for exit in range(exits))
    lines = [f"| option | seeds | {header} | mean |", "| --- | --: |" + " --: |" * (exits + 1)]
    for option, seeds in accuracies.items():
        gained = np.mean([np.subtract(found, plain[seed]) for seed, found in seeds.items()], axis=0)
        cells = " | ".join(f"{gain:+.2f}" for gain in gained)
        lines.append(f"| {option} | {len(seeds)} | {cells} | {gained.mean():+.2f} |")
    return "\n".join(lines)


def _option_accuracies(record: Record, task: str) -> Mapping[str, dict[str, list[float]]]:
    """By option and seed the test accuracy of each exit; the main run is the option that it uses."""
    found: dict[str, dict[str, list[float]]] = {OWN: {}}
    for row in record.rows("answers.csv"):
        option = OWN if row["system"] == "ours" else row["system"]
        if row["task"] == task and option in OPTIONS:
            found.setdefault(option, {}).setdefault(row["seed"], []).append(POINTS * float(row["test"]))
    return found
