"""Searches of the benchmark: for one network with exits, and, its honest enemy, for networks of one budget.

As a program: dynamic_search.py TASK KIND FOLDER, which goes on with what the folder holds and ends with code
3 where it is not done after its turn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from dynamic_data import TASKS, Task

from nas import Architecture, SearchSpace, load_space
from nas.latency import Calibration, LocalTarget, calibrate
from nas.search import AnytimeEvaluation, CostRange, Maximize, Minimize, Study, Trial, WarmStart, read_study
from nas.train import ShortTraining

__all__ = [
    "KINDS",
    "TURN_S",
    "UNFINISHED",
    "best_dynamic",
    "best_static",
    "calibrated",
    "done_file",
    "space_of",
]

KINDS = {"static": "search_spaces.anytime:static", "dynamic": "search_spaces.anytime:space"}
"""In the order in which they are made: the second begins with what the first has found."""
TURN_S = 20 * 60  # of a job, which ends at the next epoch or trial
UNFINISHED = 3  # code of a process whose job is to be begun again
CALIBRATION = "latency.json"
STARTS = 2  # networks without exits at which the search for exits begins
DEEPER = ((0, 0, 1), (0, 1, 1), (1, 1, 1))
"""Depth of each scale in the further passes with which it begins."""


def space_of(kind: str, task: Task) -> SearchSpace:
    space = load_space(KINDS[kind])
    assert isinstance(space, SearchSpace), "anytime has spaces"
    return space.at(task.input_shape, task.num_classes)


def calibrated(task: Task, folder: Path) -> Calibration:
    """What this machine takes for networks of the space, measured once; nothing else may run meanwhile."""
    file = folder / CALIBRATION
    if not file.exists():
        space, target = space_of("dynamic", task), LocalTarget()
        *_, measured = calibrate(space, target, seconds=task.calibration_s)
        folder.mkdir(parents=True, exist_ok=True)
        Calibration.of(space, target.identity, measured).save(file)
    return Calibration.load(file)


def study_of(kind: str, task: Task, folder: Path) -> Study:
    """Both searches have the same trainings, some epochs by the recipe of the task.

    That for exits begins where the other ended, with further passes behind its best small networks.
    """
    times = calibrated(task, folder)
    training = ShortTraining(task.data, task.short_epochs, task.recipe)
    given: Mapping[str, Callable[[], dict[str, Any]]] = {
        "dynamic": lambda: {
            "objectives": [Maximize("anytime_accuracy")],
            "evaluate": AnytimeEvaluation(training, CostRange.parse(task.times), times),
            "budget": task.budget,
            "sampler": WarmStart(_starts(task, folder)),
        },
        "static": lambda: {
            "objectives": [Maximize("accuracy"), Minimize("latency_ms")],
            "evaluate": training,
            "budget": task.bound,
            "sampler": "known-cost",
        },
    }
    return Study(space_of(kind, task), folder / kind, costs={"latency_ms": times}, **given[kind]())


def _starts(task: Task, folder: Path) -> tuple[Architecture, ...]:
    """The most accurate networks of one budget that are ready when an exit first is asked, made deeper."""
    space, first = space_of("dynamic", task), CostRange.parse(task.times).low.bound
    front = read_study(folder / "static").front.trials
    small = [trial for trial in front if trial.values["latency_ms"] <= first]
    best = sorted(small, key=_accuracy, reverse=True)[:STARTS]
    return tuple(
        space.architecture({**dict(trial.architecture.choices), **_passes(depths, count)})
        for count in (2, 3)
        for depths in DEEPER
        for trial in best
    )


def _passes(depths: tuple[int, ...], count: int) -> dict[str, int]:
    """Choices of a network with this many passes, all but the first of these depths."""
    return {"passes": count} | {
        f"pass{number}.scale{scale}.depth": depth
        for number in range(1, count)
        for scale, depth in enumerate(depths)
    }


def done_file(folder: Path, kind: str) -> Path:
    """What is there once a search has ended."""
    return folder / f"{kind}.done"


def best_dynamic(folder: Path) -> Architecture:
    """The network whose exits were best over all budgets."""
    trials = read_study(folder / "dynamic").front.trials
    return max(trials, key=lambda trial: trial.values["anytime_accuracy"]).architecture


def best_static(folder: Path, latency_ms: float) -> Architecture:
    """The most accurate network of the other search within a time."""
    trials = read_study(folder / "static").front.trials
    within = [trial for trial in trials if trial.values["latency_ms"] <= latency_ms]
    if not within:  # the first exit of a network may be faster than any whole one
        return min(trials, key=lambda trial: trial.values["latency_ms"]).architecture
    return max(within, key=_accuracy).architecture


def _accuracy(trial: Trial) -> float:
    return trial.values["accuracy"]


def main(name: str, kind: str, folder: str) -> int:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    end, task = time.monotonic() + TURN_S, TASKS[name]
    study = study_of(kind, task, Path(folder))
    for trial in study.run(trials=task.trials):
        if trial.evaluated:
            values = {name: round(value, 4) for name, value in trial.values.items()}
            print(study.record.evaluated, values, f"{trial.seconds:.0f} s", file=sys.stderr, flush=True)
        if time.monotonic() > end and study.record.evaluated < task.trials:
            return UNFINISHED
    done_file(Path(folder), kind).touch()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
