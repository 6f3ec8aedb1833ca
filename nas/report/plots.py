"""Draws the points of a report as figures of matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nas.errors import MissingExtraError
from nas.report.points import Point, Scatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "draw_bars", "draw_curves", "draw_progress", "draw_scatter", "new_axes"]

# Okabe and Ito's colors, which people with any color vision tell apart: https://jfly.uni-koeln.de/color
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
WIDE = 8.0  # costs that span this factor get a logarithmic axis


def draw_scatter(scatter: Scatter, *, cost: str, names: tuple[str, str], joined: bool) -> Figure:
    """All points light and the best dark, if `joined` as one line; `names` are for the legend."""
    figure, axes = new_axes(cost, [point.cost for point in scatter.all])
    rest = [point for point in scatter.all if point not in scatter.best]
    axes.plot(*_columns(rest), "o", color="#b5bcc4", markersize=4.5, label=names[0])
    line = "o-" if joined else "o"
    axes.plot(*_columns(scatter.best), line, color=COLORS[0], markersize=6.5, linewidth=1.2, label=names[1])
    axes.legend(frameon=False, loc="best")
    return figure


def draw_curves(curves: Mapping[str, tuple[Point, ...]], *, cost: str) -> Figure:
    """One line per network through its exits."""
    figure, axes = new_axes(cost, [point.cost for points in curves.values() for point in points])
    for number, (name, points) in enumerate(curves.items()):
        axes.plot(*_columns(points), "o-", color=COLORS[number % len(COLORS)], linewidth=1.4, label=name)
    axes.legend(frameon=False, loc="best")
    return figure


def draw_progress(shares: Sequence[float]) -> Figure:
    """What share of the box of all values the front covered after each network."""
    figure, axes = new_axes("networks trained in full", ())
    axes.set_ylabel("hypervolume, % of the box of all values")
    axes.step(range(1, len(shares) + 1), [100 * share for share in shares], where="post", color=COLORS[0])
    axes.set_ylim(bottom=0)
    return figure


def draw_bars(shares: Mapping[str, float]) -> Figure:
    """Shares of choices, the largest on top."""
    figure, axes = new_axes("share of the differences, %", ())
    names = list(shares)[::-1]
    axes.barh(names, [100 * shares[name] for name in names], color=COLORS[0], height=0.6)
    axes.set_ylabel("")
    axes.grid(visible=False)
    return figure


def new_axes(cost: str, costs: Sequence[float]) -> tuple[Figure, Axes]:
    """Of accuracy against a cost, logarithmic where the costs to be drawn span much."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
    except ImportError:
        raise MissingExtraError.of("matplotlib", "report") from None
    figure = Figure(figsize=(7, 4.2), dpi=160, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(cost)
    axes.set_ylabel("validation accuracy, %")
    axes.grid(axis="y", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    if costs and max(costs) > WIDE * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure, axes


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.cost for point in points], [100 * point.accuracy for point in points]
