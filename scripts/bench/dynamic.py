"""Networks with exits beside MSDNet and beside networks that are trained for one budget each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import dynamic_answers
import dynamic_batch
import dynamic_figures
import dynamic_plot
import dynamic_time
import torch
from dynamic_data import CIFAR, TASKS, Task
from dynamic_queue import Job, run_jobs
from dynamic_search import KINDS, best_dynamic, calibrated, done_file, space_of
from dynamic_systems import trainings
from dynamic_train import DONE, WEIGHTS, place_of
from record import ROOT, Record

from nas.cascade import CascadeCost

REPEATS = 5


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


def measure(record: Record, task: Task, folder: Path) -> None:
    """All that is timed, while nothing else runs; some ten minutes."""
    chosen = list(trainings(task, folder))
    dynamic_answers.collect(record, task, chosen, folder)
    passes, repeats = (1, 1) if record.quick else (dynamic_time.PASSES, REPEATS)
    dynamic_time.collect(record, task, chosen, folder, passes=passes)
    dynamic_batch.collect(record, task, chosen, folder, repeats=repeats)


def heads_share_pct(task: Task, folder: Path) -> float:
    """Of the MACs of our network with all its heads, those of the heads."""
    costs = CascadeCost.of_graph(space_of("dynamic", task).graph(best_dynamic(folder)))
    return 100 * sum(costs.heads) / sum(costs.heads + costs.trunks)


def main() -> None:
    torch.set_num_threads(1)
    record = Record("dynamic", __doc__ or "")
    names = ("quick",) if record.quick else ("fashion", *(["cifar10"] if os.environ.get(CIFAR) else []))
    runs = record.raw / "runs" if record.quick else ROOT / "runs" / "dynamic"
    headline: dict[str, float | None] = {}
    parts = [NOTES.strip()]
    for name in names:
        task, folder = TASKS[name], runs / name
        prepare(task, folder)
        measure(record, task, folder)
        found = dynamic_figures.figures(record, name, heads_share_pct(task, folder))
        headline |= {f"{name}_{figure}": value for figure, value in found.items()}
        parts += [f"## {name}", f"![Accuracy over cost]({dynamic_plot.plot(record, name)})"]
        parts += [dynamic_figures.systems_table(record, name), dynamic_figures.ablation(record, name)]
    record.finish(headline, "\n\n".join(parts))


NOTES = """
"""

if __name__ == "__main__":
    main()
