"""Networks with exits beside MSDNet and beside networks that are trained for one budget each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dynamic_time
import torch
from dynamic_data import CIFAR, TASKS, Task
from dynamic_queue import Job, run_jobs
from dynamic_search import KINDS, calibrated, done_file
from dynamic_systems import trainings
from dynamic_train import DONE, WEIGHTS, place_of
from record import ROOT, Record


def prepare(task: Task, folder: Path) -> None:
    """All that needs many hours of two processors: searches, then trainings."""
    calibrated(task, folder)
    run_jobs(
        [Job("dynamic_search", (task.name, kind, str(folder)), done_file(folder, kind)) for kind in KINDS]
    )
    run_jobs(list(_trainings(task, folder)))


def _trainings(task: Task, folder: Path) -> Iterator[Job]:
    for training in trainings(task, folder):
        after = place_of(folder, training.teacher) / WEIGHTS if training.teacher else None
        done = place_of(folder, training.name) / DONE
        yield Job("dynamic_train", (task.name, training.name, str(folder)), done, after)


def main() -> None:
    torch.set_num_threads(1)
    record = Record("dynamic", __doc__ or "")
    names = ("quick",) if record.quick else ("fashion", *(["cifar10"] if os.environ.get(CIFAR) else []))
    runs = record.raw / "runs" if record.quick else ROOT / "runs" / "dynamic"
    for name in names:
        task, folder = TASKS[name], runs / name
        prepare(task, folder)
        passes = 1 if record.quick else dynamic_time.PASSES
        dynamic_time.collect(record, task, trainings(task, folder), folder, passes=passes)


if __name__ == "__main__":
    main()
