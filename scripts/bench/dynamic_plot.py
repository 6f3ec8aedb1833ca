"""Pictures of the benchmark: accuracy over milliseconds and over MACs, of all systems."""

from __future__ import annotations

import numpy as np
from dynamic_budgeted import budget_rows, rivals_of, whole_cost
from dynamic_curves import POINTS, curve_of, systems_of
from dynamic_systems import OPTIONS
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from record import Record

__all__ = ["plot"]

COLORS = {
    "ours": "#d1495b",
    "msdnet": "#2e6f95",
    "msdnet-ours": "#4aa3a2",
    "lin_grow": "#7fb2d0",
    "official": "#7fb2d0",
    "in_turn": "#8d6cab",
    "static": "#444444",
    "alone": "#999999",
    "mobilenet": "#c9a227",
    "shufflenet": "#5b8e5a",
}
LABELS = {
    "ours": "ours: one network, all images at one exit",
    "msdnet": "MSDNet",
    "msdnet-ours": "MSDNet, taught as ours",
    "lin_grow": "MSDNet, lin_grow",
    "official": "MSDNet, official size",
    "in_turn": "networks of one budget, in turn",
    "static": "networks of one budget",
    "alone": "our network, one exit alone",
    "mobilenet": "MobileNetV2-like",
    "shufflenet": "ShuffleNetV2-like",
}
SCATTERED = ("static", "alone", "mobilenet", "shufflenet")  # of which each point is a network
SIZES = "0123456789._sml"  # at the end of the names of systems that differ in size only
DPI = 130


def plot(record: Record, task: str) -> str:
    """Draw all pictures side by side in one file, whose name is given."""
    figure = Figure(figsize=(14, 5.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, cost, unit in zip(panels, ("ms", "macs"), (1.0, 1e6), strict=False):
        _draw_exits(panel, record, task, cost=cost, unit=unit)
    _draw_budgets(panels[1], record, task, cost="macs", unit=1e6)
    _draw_budgets(panels[2], record, task, cost="ms", unit=1.0)
    _draw_whole(panels[2], record, task)
    panels[0].set_xlabel("ms of an image, one thread, each exit as one graph")
    panels[1].set_xlabel("million MACs of an image")
    panels[2].set_xlabel("ms of an image on average, wall-clock of the runtime")
    panels[0].set_ylabel("test accuracy, %")
    shown: dict[str, Artist] = {}
    for panel in panels:
        _style(panel)
        shown |= {label: line for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(record.raw / f"{task}.png", dpi=DPI)
    return f"{task}.png"


def _style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)


def _draw_exits(axes: Axes, record: Record, task: str, *, cost: str, unit: float) -> None:
    """Each system at each of its exits, all images at the same one."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for system in systems_of(record, task):
        if system not in OPTIONS:
            curve = curve_of(record, task, system)
            name = system if system in COLORS else system.rstrip(SIZES)
            accuracies = POINTS * curve.accuracies()
            groups.setdefault(name, []).extend(zip(curve.costs(cost) / unit, accuracies, strict=True))
    for name, points in groups.items():
        look = {"color": COLORS.get(name, "#999999"), "linewidth": 2.2 if name == "ours" else 1.3}
        costs, accuracies = zip(*sorted(points), strict=True)
        line = "" if name in SCATTERED else "-"
        axes.plot(costs, accuracies, f"o{line}", markersize=4, label=LABELS.get(name, name), **look)


def _draw_budgets(axes: Axes, record: Record, task: str, *, cost: str, unit: float) -> None:
    """Thresholds solved from mean budgets."""
    for system, label in (
        ("ours", "ours: each image where an exit is sure"),
        ("msdnet", "MSDNet: the same, one seed"),
    ):
        spent, bought = _batches(record, task, system, cost)
        look = {"color": COLORS[system], "linewidth": 1.5, "label": label}
        axes.plot([each / unit for each in spent], bought, "s--", markersize=4, **look)


def _draw_whole(axes: Axes, record: Record, task: str) -> None:
    """Networks of one budget in the same runtime."""
    for rival in rivals_of(record, task):
        name = rival.name.rstrip(SIZES)
        spent = whole_cost(record, task, rival, "single_ms")
        accuracy = POINTS * float(rival.accuracies()[-1])
        axes.plot(spent, accuracy, "o", color=COLORS[name], markersize=4, label=LABELS[name])


def _batches(record: Record, task: str, system: str, cost: str) -> tuple[list[float], list[float]]:
    """Mean over seeds of what budgets buy, in wall-clock milliseconds or in MACs."""
    metric, column = ("latency_ms", "single_ms") if cost == "ms" else ("macs", "test_cost")
    budgets = budget_rows(record, task, system, metric)
    spent, bought = (
        [float(np.mean([float(row[name]) for row in rows])) for rows in budgets]
        for name in (column, "test_accuracy")
    )
    return spent, [POINTS * accuracy for accuracy in bought]
