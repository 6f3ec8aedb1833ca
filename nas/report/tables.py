"""What is told about a search and its networks, as rows of cells: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from nas.bundle import Bundle, Level
from nas.metric import METRICS, split_key

if TYPE_CHECKING:
    from nas.search import Objective, Trial

__all__ = ["Table", "exit_table", "level_table", "trial_table"]


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
    """The levels of a bundle; accuracy is that on validation images.

    Where images may leave sooner, MACs and p50 are means over them, and p95 is that of the longest way.
    """
    header = ("level", "model", "exit", "accuracy", "MACs", "ms p50", "ms p95")
    powered = any(level.energy_mj is not None for level in levels)
    times = [
        (level.latency.p50_ms, level.latency.p95_ms) if level.latency else (None, None) for level in levels
    ]
    return Table.of(
        header + (("mJ", "mJ from") if powered else ()),
        [
            (
                *(number, level.model, _exit(level), level.accuracy, level.macs, *times_ms),
                *((level.energy_mj, level.energy_source or None) if powered else ()),
            )
            for number, (level, times_ms) in enumerate(zip(levels, times, strict=True))
        ],
    )


def _exit(level: Level) -> int | str:
    return level.exit if level.thresholds is None else f"{level.exit} or sooner"


def exit_table(bundle: Bundle) -> Table:
    """All exits of a bundle's networks with the accuracy on test images, which chose nothing."""
    found = bundle.provenance.get("exits", ())
    rows = [
        (exit["model"], exit["exit"], exit["accuracy"], exit.get("test_accuracy"), exit["macs"])
        for exit in found
    ]
    return Table.of(("model", "exit", "validation accuracy", "test accuracy", "MACs"), rows)


def trial_table(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Table:
    """Trials with objectives and two costs always known; what became of them, unless all are complete."""
    metrics = tuple(dict.fromkeys((*(objective.metric for objective in objectives), "macs", "params")))
    told = any(trial.state != "complete" for trial in trials)
    rows = [
        (
            trial.number,
            trial.architecture.id[:12],
            *(_value(metric, trial.values.get(metric)) for metric in metrics),
            *((trial.state, trial.reason) if told else ()),
        )
        for trial in trials
    ]
    end = ("state", "reason") if told else ()
    return Table.of(("trial", "network", *map(_heading, metrics), *end), rows)


def _value(metric: str, value: float | None) -> float | None:
    """Counts as whole numbers."""
    known = METRICS.get(split_key(metric)[0])
    return int(value) if value is not None and known and known.counted else value


def _heading(metric: str) -> str:
    name, exit = split_key(metric)
    heading = METRICS[name].heading if name in METRICS else name
    return heading if exit is None else f"{heading}@{exit}"


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
