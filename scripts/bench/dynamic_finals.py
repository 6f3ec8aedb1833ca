"""What the searches come to: their best networks are trained in full, and validation images decide.

After few epochs the best of many networks is so by luck too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from dynamic_data import Task
from dynamic_search import best_dynamic, best_static, calibrated, space_of
from dynamic_systems import CHOSEN, Training, level_exits

from nas import Architecture, Candidate
from nas.files import save_json
from nas.search import CostRange

__all__ = ["choose", "finals", "level_finals"]


def finals(task: Task, folder: Path) -> list[Training]:
    """Of networks with exits."""
    return list(_trainings("final", best_dynamic(task, folder), task))


def level_finals(task: Task, folder: Path) -> list[list[Training]]:
    """Of networks of one budget, for each level of our network, which must be trained."""
    candidate, times = Candidate(space_of("dynamic", task), _own(task, folder)), calibrated(task, folder)
    exits = level_exits(len(candidate.graph.exits))
    found = best_static(task, folder, [times(candidate, exit=exit).value for exit in exits])
    return [list(_trainings(f"final-static{level}", each, task)) for level, each in enumerate(found)]


def choose(task: Task, folder: Path) -> None:
    """Keep the best of each, once for all that follows."""
    levels = [
        max(each, key=lambda training: _said(training, folder)[-1]) for each in level_finals(task, folder)
    ]
    told = {
        "own": _own(task, folder).to_json(),
        "levels": [training.architecture.to_json() for training in levels],
    }
    save_json(folder / CHOSEN, told)


def _own(task: Task, folder: Path) -> Architecture:
    """The network whose exits are best over all budgets."""
    costs, times = CostRange.parse(task.times), calibrated(task, folder)

    def anytime(training: Training) -> float:
        candidate = Candidate(space_of("dynamic", task), training.architecture)
        each = [times(candidate, exit=exit).value for exit in range(len(candidate.graph.exits))]
        return costs.mean_accuracy(each, _said(training, folder), chance=1 / task.num_classes)

    return max(finals(task, folder), key=anytime).architecture


def _said(training: Training, folder: Path) -> list[float]:
    """Accuracy of each exit on validation images."""
    told: Mapping[str, list[float]] = json.loads(training.done(folder).read_text())
    return told["val"]


def _trainings(name: str, networks: list[Architecture], task: Task) -> Iterator[Training]:
    for rank, architecture in enumerate(networks):
        yield Training(f"{name}-{rank}", 0, architecture, task.recipe, task.data.hash)
