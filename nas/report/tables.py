"""What is told about a search and its networks, as rows of cells: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from nas.bundle import Level

if TYPE_CHECKING:
    from nas.search import Objective, Trial

__all__ = ["Table", "level_table", "trial_table"]

HEADINGS = {
    "macs": "MACs",
    "flops": "FLOPs",
    "params": "parameters",
    "peak_bytes": "peak bytes",
    "size_bytes": "bytes",
    "latency_ms": "ms",
    "energy_mj": "mJ",
}


@final
@dataclass(frozen=True)
class Table:
    """Cells as text. A column of numbers is meant to stand at the right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @staticmethod
    def of(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
        """Numbers get a comma at each thousand, fractions four digits; None is a dash.

        >>> Table.of(("name", "MACs", "accuracy"), [("net0", 1250000, 0.97), ("net1", None, 1.0)]).rows
        (('net0', '1,250,000', '0.9700'), ('net1', '-', '1.0000'))
        """
        return Table(tuple(header), tuple(tuple(map(_text, row)) for row in rows))

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds only numbers."""
        return tuple(all(map(_is_number, column)) for column in zip(*self.rows, strict=True))


def level_table(levels: Sequence[Level]) -> Table:
    """The levels of a bundle; accuracy is that on validation images."""
    header = ("level", "model", "exit", "accuracy", "MACs", "ms p50", "ms p95")
    times = [(level.latency.p50_ms, level.latency.p95_ms) if level.latency else (None, None) for level in levels]
    return Table.of(
        header,
        [
            (number, level.model, level.exit, level.accuracy, level.macs, *times_ms)
            for number, (level, times_ms) in enumerate(zip(levels, times, strict=True))
        ],
    )


def trial_table(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Table:
    """Trials with the metrics that are objectives, then costs that always are known."""
    metrics = tuple(dict.fromkeys((*(objective.metric for objective in objectives), "macs", "params")))
    whole = ("macs", "flops", "params", "peak_bytes", "size_bytes")
    rows = [
        (
            trial.number,
            trial.architecture.id[:12],
            trial.state,
            *(
                int(value) if value is not None and key.partition("@")[0] in whole else value
                for key, value in ((key, trial.values.get(key)) for key in metrics)
            ),
            trial.reason,
        )
        for trial in trials
    ]
    return Table.of(("trial", "network", "state", *map(_heading, metrics), "reason"), rows)


def _heading(metric: str) -> str:
    name, at, exit = metric.partition("@")
    return HEADINGS.get(name, name) + at + exit


def _text(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:.4f}"
    return str(cell)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).isdecimal()
