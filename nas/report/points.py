"""What the plots show, as plain values: accuracy against MACs and against milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

from nas.bundle import Bundle, Level, undominated

if TYPE_CHECKING:
    from nas.search import StudyRecord, Trial

__all__ = ["Point", "Scatter", "exit_curves", "front_points", "level_points", "measured_exits"]


@final
class Point(NamedTuple):
    """A network or exit: what it costs, in the unit of its plot, and its accuracy, 0 to 1."""

    cost: float
    accuracy: float


@final
@dataclass(frozen=True)
class Scatter:
    """All points, and those of them that no other beats."""

    all: tuple[Point, ...]
    best: tuple[Point, ...]


def front_points(record: StudyRecord) -> Scatter:
    """MMACs and accuracy of all networks trained in a search, and of its front."""

    def points(trials: Sequence[Trial]) -> tuple[Point, ...]:
        known = (trial.values for trial in trials if {"macs", "accuracy"} <= trial.values.keys())
        return tuple(sorted(Point(values["macs"] / 1e6, values["accuracy"]) for values in known))

    return Scatter(points(record.trials), points(record.front.trials))


def level_points(bundle: Bundle) -> Scatter:
    """Milliseconds and accuracy of all measured exits, and of the levels that none beats."""

    def points(levels: Sequence[Level]) -> tuple[Point, ...]:
        measured = ((level.latency, level.accuracy) for level in levels)
        return tuple(sorted(Point(latency.p50_ms, accuracy) for latency, accuracy in measured if latency))

    best = [bundle.levels[number] for number in undominated(bundle.levels)]
    return Scatter(points(measured_exits(bundle)), points(best))


def exit_curves(bundle: Bundle) -> dict[str, tuple[Point, ...]]:
    """MMACs and accuracy at every exit of each network, in order."""
    exits = measured_exits(bundle)
    names = dict.fromkeys(exit.model for exit in exits)
    return {
        name: tuple(Point(exit.macs / 1e6, exit.accuracy) for exit in exits if exit.model == name)
        for name in names
    }


def measured_exits(bundle: Bundle) -> tuple[Level, ...]:
    """All exits of the networks as the export found them, those that did not become levels too."""
    found = bundle.provenance.get("exits")
    return tuple(map(Level.from_json, found)) if found else bundle.levels
