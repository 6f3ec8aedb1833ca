"""Draws how the exits of a network do: curves, shares, confusion, easy and hard images."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from nas.report.exits import Examples, ExitReport
from nas.report.plots import COLORS, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_budgets", "draw_confusion", "draw_examples", "draw_shares"]

UNITS = MappingProxyType(
    {"macs": ("million MACs per image (1 MAC = 2 FLOPs)", 1e6), "latency_ms": ("ms per image", 1.0)}
)
"""Of each metric what an axis says, and by what costs are divided for it."""
PALE = "#b5bcc4"
COLUMNS = 8


def draw_budgets(report: ExitReport) -> Figure:
    """Accuracy on test images against cost: of each exit for all images, and where each leaves as it may."""
    label, unit = UNITS[report.costs.metric]
    spent = [point.other.cost / unit for point in report.budgets]
    bought = [100 * point.other.accuracy for point in report.budgets]
    costs = [float(exit[report.costs.metric] or 0) / unit for exit in report.exits]
    reached = [100 * float(exit["test_accuracy"] or 0) for exit in report.exits]
    figure, axes = new_axes(label, [*spent, *costs])
    axes.set_ylabel("test accuracy, %")
    axes.plot(costs, reached, "s-", color=COLORS[1], linewidth=1.4, label="all images leave at one exit")
    axes.plot(spent, bought, "o-", color=COLORS[0], linewidth=1.4, label="each leaves where an exit is sure")
    axes.legend(frameon=False, loc="best")
    return figure


def draw_shares(report: ExitReport) -> Figure:
    """What share of the test images leaves where, for each mean budget."""
    label, unit = UNITS[report.costs.metric]
    figure, axes = new_axes(f"mean budget, {label}", ())
    axes.set_ylabel("images, %")
    places = range(len(report.budgets))
    bottom = np.zeros(len(report.budgets))
    for exit in range(len(report.exits)):
        share = 100 * np.array([point.other.shares[exit] for point in report.budgets])
        color = COLORS[exit % len(COLORS)]
        axes.bar(places, share, 0.7, bottom=bottom, color=color, label=f"exit {exit}")
        bottom += share
    axes.set_xticks(places, [f"{point.budget / unit:.3g}" for point in report.budgets])
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_confusion(report: ExitReport) -> Figure:
    """Which exit is right where another is wrong."""
    figure, axes = new_axes("… and exit … wrong", ())
    axes.set_ylabel("exit … is right")
    axes.grid(visible=False)
    shown = axes.imshow(100 * report.confusion, cmap="Blues", vmin=0)
    exits = range(len(report.exits))
    axes.set_xticks(exits)
    axes.set_yticks(exits)
    for row, column in np.ndindex(report.confusion.shape):
        share = 100 * report.confusion[row, column]
        dark = report.confusion[row, column] > report.confusion.max() / 2
        text = "" if row == column else f"{share:.1f}"
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else "black")
    figure.colorbar(shown, ax=axes, label="test images, %")
    return figure


def draw_examples(report: ExitReport, examples: Examples) -> Figure | None:
    """Images above what they are and, where it is wrong, what the last exit says; None if there are none."""
    if not len(examples.images):
        return None
    from matplotlib.figure import Figure

    rows = -(-len(examples.images) // COLUMNS)
    figure = Figure(figsize=(9, 1.45 * rows), dpi=160, layout="constrained")
    cells = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for cell in cells:
        cell.axis("off")
    for cell, image, label, named in zip(
        cells, examples.images, examples.labels, examples.named, strict=False
    ):
        shown = image.transpose(1, 2, 0) if len(image) == 3 else image.mean(axis=0)
        cell.imshow(shown, cmap=None if len(image) == 3 else "gray")
        said = (
            report.classes[label]
            if label == named
            else f"{report.classes[label]},\nnot {report.classes[named]}"
        )
        cell.set_title(said, fontsize=7)
    return figure
