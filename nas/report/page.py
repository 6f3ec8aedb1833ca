"""Writes what a search found, and what was exported, as one page with its plots beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nas.bundle import Bundle, undominated
from nas.report.html import document, figure, table
from nas.report.plots import draw_bars, draw_curves, draw_progress, draw_scatter
from nas.report.points import exit_curves, front_points, level_points
from nas.report.tables import exit_table, level_table, trial_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.search import StudyRecord

__all__ = ["write_report"]

LEAST_CURVE = 2  # networks of which a curve is drawn
MOST_CHOICES = 12  # bars
MMAC = "million MACs per image (1 MAC = 2 FLOPs)"


def write_report(folder: Path, record: StudyRecord, bundle: Bundle | None = None) -> Path:
    """Write `index.html` and its plots into a folder, and return the page's path.

    Without a bundle the page tells of the search alone.
    """
    title = f"Search in {record.settings.space}"
    figures: dict[str, Figure] = {}
    parts = [f"<h1>{escape(title)}</h1>", *_search_parts(record, figures)]
    if bundle:
        parts += _bundle_parts(bundle, figures)
    parts += ["<h2>All trials</h2>", table(trial_table(record.trials, record.settings.objectives))]
    folder.mkdir(parents=True, exist_ok=True)
    for file, drawing in figures.items():
        drawing.savefig(folder / file)
    page = folder / "index.html"
    page.write_text(document(title, parts), encoding="utf-8")
    return page


def _search_parts(record: StudyRecord, figures: dict[str, Figure]) -> list[str]:
    """What stands on the page; the figures that it shows are added by file name."""
    settings, points = record.settings, front_points(record)
    rejected = sum(trial.state == "infeasible" for trial in record.trials)
    text = (
        f"{record.evaluated} networks trained under {settings.budget or 'no budget'}; {rejected} more were "
        f"rejected before training. Sampler {settings.sampler}, seed {settings.seed}."
    )
    parts = [f"<p>{escape(text)}</p>", "<h2>Front</h2>"]
    if points.all:
        best = max(points.all, key=lambda point: point.accuracy)
        parts.append(f"<p>The best network has {best.accuracy:.2%} accuracy at {best.cost:.3g} MMAC.</p>")
        joined = any(objective.metric == "macs" for objective in settings.objectives)
        names = ("trained", "front")
        figures["front_macs.png"] = draw_scatter(points, cost=MMAC, names=names, joined=joined)
        sought = ", ".join(" ".join(*objective.to_json().items()) for objective in settings.objectives)
        caption = f"Accuracy after the short training of the search. The front is to {sought}."
        parts.append(figure("front_macs.png", caption))
    parts.append(table(trial_table(record.front.trials, settings.objectives)))
    return parts + _progress_parts(record, figures)


def _progress_parts(record: StudyRecord, figures: dict[str, Figure]) -> list[str]:
    """As `_search_parts`: how the search went, and which choices made the difference."""
    from nas.search import hypervolume_curve, importances

    curve = hypervolume_curve(record)
    if len(curve) < LEAST_CURVE:
        return []
    figures["progress.png"] = draw_progress(curve)
    parts = ["<h2>Progress</h2>", figure("progress.png", "What the front covered after each network.")]
    shares = importances(record, "accuracy")
    if shares:
        figures["choices.png"] = draw_bars(dict(list(shares.items())[:MOST_CHOICES]))
        caption = "What share of the differences in accuracy each choice has, told by a random forest."
        parts += ["<h2>Choices that matter</h2>", figure("choices.png", caption)]
    return parts


def _bundle_parts(bundle: Bundle, figures: dict[str, Figure]) -> list[str]:
    """As `_search_parts`."""
    dial = [bundle.levels[number] for number in undominated(bundle.levels)]
    first, last = dial[0], dial[-1]
    text = (
        f"{len(bundle.levels)} levels. The {len(dial)} that no other beats go "
        f"from {first.accuracy:.2%} accuracy at {first.macs / 1e6:.3g} MMAC "
        f"to {last.accuracy:.2%} at {last.macs / 1e6:.3g} MMAC."
    )
    parts = ["<h2>Levels of the bundle</h2>", f"<p>{text}</p>"]
    times = level_points(bundle)
    if times.all:
        cost, names = "milliseconds per image", ("exits", "levels that none beats")
        figures["front_ms.png"] = draw_scatter(times, cost=cost, names=names, joined=True)
        target = next(level.latency.target for level in bundle.levels if level.latency)
        parts.append(figure("front_ms.png", f"Accuracy against time, measured on {target}."))
    parts.append(table(level_table(bundle.levels)))
    figures["exits.png"] = draw_curves(exit_curves(bundle), cost=MMAC)
    parts += [
        "<h2>Exits of the networks</h2>",
        figure("exits.png", "Accuracy at each exit against the MACs up to it, after the final training."),
        table(exit_table(bundle)),
    ]
    return parts
