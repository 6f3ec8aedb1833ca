"""What the searches come to: their best networks are trained in full, and validation images decide.

After few epochs the best of many networks is so by luck too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dynamic_data import Task
from dynamic_search import best_dynamic, best_static, calibrated, space_of
from dynamic_systems import CHOSEN, Training

from nas import Architecture, Candidate
from nas.files import save_json
from nas.search import CostRange

__all__ = ["choose", "finals", "level_finals"]


def finals(task: Task, folder: Path) -> list[Training]:
    """Of networks with exits."""
    return list(_trainings("final", best_dynamic(task, folder), task))


def level_finals(task: Task, folder: Path) -> list[list[Training]]:
    """Of networks of one budget, for each level: the times of our first exit, a middle one and the last.

    Ours must be chosen from trained networks then. Where it has no exit in the middle, that is between them.
    """
    each = _exit_times(task, folder, _own(task, folder))
    middle = each[len(each) // 2] if len(each) > 2 else math.sqrt(each[0] * each[-1])
    found = best_static(task, folder, [each[0], middle, each[-1]])
    return [list(_trainings(f"final-static{level}", each, task)) for level, each in enumerate(found)]


def choose(task: Task, folder: Path) -> None:
    """Keep the best of each for all that follows."""
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
    costs = CostRange.parse(task.times)

    def anytime(training: Training) -> float:
        each = _exit_times(task, folder, training.architecture)
        return costs.mean_accuracy(each, _said(training, folder), chance=1 / task.num_classes)

    return max(finals(task, folder), key=anytime).architecture


def _exit_times(task: Task, folder: Path, network: Architecture) -> list[float]:
    """Predicted milliseconds of each exit of a network with exits."""
    candidate, times = Candidate(space_of("dynamic", task), network), calibrated(task, folder)
    return [times(candidate, exit=exit).value for exit in range(len(candidate.graph.exits))]


def _said(training: Training, folder: Path) -> list[float]:
    """Accuracy of each exit on validation images."""
    told: Mapping[str, list[float]] = json.loads(training.done(folder).read_text())
    return told["val"]


def _trainings(name: str, networks: list[Architecture], task: Task) -> Iterator[Training]:
    for rank, architecture in enumerate(networks):
        # With a seed of its own: luck that has helped to choose a network must not count for it later.
        recipe = replace(task.recipe, seed=task.seeds)
        yield Training(f"{name}-{rank}", task.seeds, architecture, recipe, task.data.hash)
