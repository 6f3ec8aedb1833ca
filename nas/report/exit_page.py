"""Writes what exits of a bundle's networks are worth as one page with its plots beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from nas.report.exit_plots import draw_budgets, draw_confusion, draw_examples, draw_shares
from nas.report.exits import FALL, ExitReport, budget_table, exit_report_table
from nas.report.html import document, figure, table

__all__ = ["write_exit_report"]


def write_exit_report(folder: Path, reports: Sequence[ExitReport], *, data: str) -> Path:
    """Write `index.html` and its plots into a folder, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"<h1>Exits on the test images of {escape(data)}</h1>", table(exit_report_table(reports))]
    if reports[0].target:
        parts.append(f"<p>Milliseconds were measured for this page on {escape(reports[0].target)}.</p>")
    for report in reports:
        parts += _parts(folder, report)
    page = folder / "index.html"
    page.write_text(document("Exits", parts), encoding="utf-8")
    return page


def _parts(folder: Path, report: ExitReport) -> list[str]:
    name = report.model
    drawn = {
        "budgets": (
            draw_budgets(report),
            "Accuracy for a mean budget; thresholds are solved on validation images.",
        ),
        "shares": (draw_shares(report), "Where images leave at each of these budgets."),
        "confusion": (
            draw_confusion(report),
            "Images that one exit gets right and another wrong. What stands above the diagonal is lost by "
            f"going on. For {report.falling:.1%} the true class becomes less likely by more than {FALL}.",
        ),
        "easy": (draw_examples(report, report.easy), "Easy: the surest right answers of the first exit."),
        "hard": (
            draw_examples(report, report.hard),
            f"Hard: what the last exit gets wrong, {report.hardness[-1]:.1%} of all, the surest first.",
        ),
    }
    parts = [f"<h2>{escape(name)}</h2>"]
    for kind, (drawing, caption) in drawn.items():
        if drawing is not None:
            drawing.savefig(folder / f"{name}_{kind}.png")
            parts.append(figure(f"{name}_{kind}.png", caption))
    return [*parts, table(budget_table([report]))]
