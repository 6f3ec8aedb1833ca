"""Searches of the benchmark: for one network with exits, and, its honest enemy, for networks of one budget.

As a program: dynamic_search.py TASK KIND TRIALS FOLDER, which goes on with what the folder holds and ends
with code 3 where it is not done after its turn.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import optuna
import torch
from dynamic_data import TASKS, Task, digest

from nas import Architecture, SearchSpace, load_space
from nas.latency import Calibration, LocalTarget, calibrate
from nas.search import (
    AnytimeEvaluation,
    CostRange,
    Maximize,
    Minimize,
    Study,
    StudyRecord,
    Trial,
    WarmStart,
    read_study,
)
from nas.train import ShortTraining

__all__ = [
    "PHASES",
    "TURN_S",
    "UNFINISHED",
    "best_dynamic",
    "best_static",
    "calibrated",
    "done_file",
    "space_of",
    "study_record",
]

PHASES = (("static", 2), ("dynamic", 1))
"""Kinds of searches, in order, and how many times the task's trials each has.

The second, for exits, begins with what the first has found: networks of several sizes for one budget each.
"""
KINDS = {
    "static": "search_spaces.anytime:static",
    "dynamic": "search_spaces.anytime:space",
}
TURN_S = 20 * 60  # of a job, which ends at the next epoch or trial
UNFINISHED = 3  # code of a process whose job is to be begun again
CALIBRATION = "latency.json"
STARTS = (0.7, 0.85)
"""Times of networks without exits at which the search for exits begins, as shares of the range's least."""
COARSE = (64, 96, 128)
"""Channels of the coarsest scale with which it begins, for there width costs least."""
DEEPER = (((0, 1, 1),), ((0, 1, 2),), ((0, 1, 1), (0, 1, 1)))
"""Depth of each scale in the further passes with which it begins."""
FINALISTS, LEVEL_FINALISTS = 5, 2
"""Best networks of the search with exits, and of the other at each level, that are trained in full."""
ROUNDING = 1e-6  # of a predicted time, whose last digits depend on what was predicted before


def space_of(kind: str, task: Task) -> SearchSpace:
    space = load_space(KINDS.get(kind, kind))
    assert isinstance(space, SearchSpace), kind
    return space.at(task.input_shape, task.num_classes)


def calibrated(task: Task, folder: Path) -> Calibration:
    """What this machine takes for networks of the space, measured once; nothing else may run meanwhile."""
    file, space, target = folder / CALIBRATION, space_of("dynamic", task), LocalTarget()
    if not file.exists():
        *_, measured = calibrate(space, target, seconds=task.calibration_s)
        folder.mkdir(parents=True, exist_ok=True)
        Calibration.of(space, target.identity, measured).save(file)
    found = Calibration.load(file)
    found.check(space, target.identity)
    return found


def study_of(kind: str, task: Task, folder: Path) -> Study:
    """Both searches have the same trainings, some epochs by the recipe of the task."""
    times = calibrated(task, folder)
    training = ShortTraining(task.data, task.short_epochs, task.recipe)
    given: dict[str, Any] = {
        "objectives": [Maximize("accuracy"), Minimize("latency_ms")],
        "evaluate": training,
    }
    if kind == "dynamic":
        given = {
            "objectives": [Maximize("anytime_accuracy")],
            "evaluate": AnytimeEvaluation(training, CostRange.parse(task.times), times),
            "sampler": WarmStart(_starts(task, folder)),
        }
    place, budget = _study_folder(kind, task, folder), _budget_of(kind, task)
    return Study(space_of(kind, task), place, budget=budget, costs={"latency_ms": times}, **given)


def _budget_of(kind: str, task: Task) -> str:
    return task.budget if kind == "dynamic" else task.last_budget


def _study_folder(kind: str, task: Task, folder: Path) -> Path:
    """Named by all that a search depends on: one that has ended is not asked again what it was."""
    told = {
        "limits": [_budget_of(kind, task), task.times] if kind == "dynamic" else _budget_of(kind, task),
        "trials": dict(PHASES)[kind] * task.trials,
        "recipe": task.recipe.to_json(),
        "epochs": task.short_epochs,
        "data": task.data.hash,
        "times": (folder / CALIBRATION).read_text(),
        "starts": [start.id for start in _starts(task, folder)] if kind == "dynamic" else None,
    }
    return folder / f"{kind}-{digest(told)[:8]}"


def study_record(kind: str, task: Task, folder: Path) -> StudyRecord:
    """What a search has come to so far."""
    return read_study(_study_folder(kind, task, folder))


def _trained(kind: str, task: Task, folder: Path) -> list[Trial]:
    """The networks that a search has trained."""
    return [trial for trial in study_record(kind, task, folder).trials if trial.state == "complete"]


def _starts(task: Task, folder: Path) -> tuple[Architecture, ...]:
    """The most accurate networks of the first search up to these times, deeper and wider at the coarsest."""
    space, first = space_of("dynamic", task), CostRange.parse(task.times).low.bound
    times_ms = [share * first for share in STARTS]
    shallow = [each[0] for each in _best_at(_trained("static", task, folder), times_ms)]
    return tuple(
        space.architecture({**dict(network.choices), "scale2.channels": width, **_passes(passes)})
        for passes in DEEPER
        for width in COARSE
        for network in shallow
    )


def _passes(depths: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """Choices of a network with further passes of these depths."""
    return {"passes": 1 + len(depths)} | {
        f"pass{number}.scale{scale}.depth": depth
        for number, each in enumerate(depths, 1)
        for scale, depth in enumerate(each)
    }


def done_file(task: Task, folder: Path, kind: str) -> Path:
    """What is there once a search has ended."""
    return _study_folder(kind, task, folder) / "done"


def best_dynamic(task: Task, folder: Path) -> list[Architecture]:
    """The networks whose exits were best over all budgets, the best first."""
    trials = _trained("dynamic", task, folder)
    trials.sort(key=lambda trial: trial.values["anytime_accuracy"], reverse=True)
    return [trial.architecture for trial in trials[:FINALISTS]]


def best_static(task: Task, folder: Path, times_ms: list[float]) -> list[list[Architecture]]:
    """For each time the best networks of one budget."""
    return _best_at(_trained("static", task, folder), times_ms)


def _best_at(trials: list[Trial], times_ms: list[float]) -> list[list[Architecture]]:
    """For each time the most accurate networks that are no later, but later than the time before.

    Where none lies between, the most accurate that are no later, or the fastest.
    """
    trials = sorted(trials, key=lambda trial: trial.values["latency_ms"])
    found, before = list[list[Architecture]](), 0.0
    for time_ms in times_ms:
        within = [trial for trial in trials if trial.values["latency_ms"] <= time_ms * (1 + ROUNDING)]
        near = [trial for trial in within if trial.values["latency_ms"] > before * (1 + ROUNDING)]
        best = sorted(near or within or trials[:1], key=_accuracy, reverse=True)
        found.append([trial.architecture for trial in best[:LEVEL_FINALISTS]])
        before = time_ms
    return found


def _accuracy(trial: Trial) -> float:
    return trial.values["accuracy"]


def main(name: str, kind: str, trials: str, folder: str) -> int:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    end, task = time.monotonic() + TURN_S, TASKS[name]
    study = study_of(kind, task, Path(folder))
    for trial in study.run(trials=int(trials)):
        if trial.evaluated:
            values = {name: round(value, 4) for name, value in trial.values.items()}
            print(study.record.evaluated, values, f"{trial.seconds:.0f} s", file=sys.stderr, flush=True)
        if time.monotonic() > end and study.record.evaluated < int(trials):
            return UNFINISHED
    done_file(task, Path(folder), kind).touch()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
