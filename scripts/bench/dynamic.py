"""Networks with exits beside MSDNet and beside networks that are trained for one budget each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import dynamic_answers
import dynamic_batch
import dynamic_budgeted
import dynamic_figures
import dynamic_plot
import dynamic_time
import torch
from dynamic_data import CIFAR, TASKS, Task
from dynamic_finals import choose, finals, level_finals
from dynamic_kept import drop_rows, has_choice, keep_choice, restore_choice, select, unfinished
from dynamic_queue import Job, run_jobs
from dynamic_search import PHASES, calibrated, done_file, space_of
from dynamic_systems import CHOSEN, Training, chosen, trainings
from dynamic_train import WEIGHTS
from record import ROOT, Record

from nas.cascade import CascadeCost

REPEATS = 8
SEARCHERS = 2  # processes that search in one folder
TABLES = {
    "All exits": dynamic_figures.systems_table,
    "At equal cost": dynamic_figures.gap_table,
    "Mean budgets": dynamic_budgeted.budgeted_table,
    "Batches": dynamic_figures.speedup_table,
    "How exits are taught": dynamic_figures.ablation,
}


def prepare(record: Record, task: Task, folder: Path) -> list[Training]:
    """All that needs many hours of two processors: searches, then the trainings that count."""
    if has_choice(record, task):
        restore_choice(record, task, folder)
    else:
        _search(task, folder)
        keep_choice(record, task, folder)
    every = list(trainings(task, folder))
    drop_rows(record, task, every)
    keep = partial(dynamic_answers.collect, record, task, every, folder)
    keep()
    for _ in range(2):  # what the first trainings tell decides which options are tried with other seeds
        counting = select(record, task, every)
        run_jobs(_jobs(task, folder, unfinished(record, task, counting, folder)), keep)
    return counting


def _search(task: Task, folder: Path) -> None:
    (folder / CHOSEN).unlink(missing_ok=True)
    calibrated(task, folder)
    for kind, times in PHASES:
        given = task.name, kind, str(times * task.trials), str(folder)
        run_jobs([Job("dynamic_search", given, done_file(task, folder, kind))] * SEARCHERS)
    run_jobs(_jobs(task, folder, finals(task, folder)))
    run_jobs(_jobs(task, folder, chain(*level_finals(task, folder))))
    choose(task, folder)


def _jobs(task: Task, folder: Path, each: Iterable[Training]) -> list[Job]:
    found = []
    for training in each:
        after = training.teacher.place(folder) / WEIGHTS if training.teacher else None
        arguments = task.name, training.key, str(folder)
        found.append(Job("dynamic_train", arguments, training.done(folder), after))
    return found


def measure(record: Record, task: Task, folder: Path, every: Sequence[Training]) -> None:
    """All that is timed, while nothing else runs."""
    passes, repeats = (1, 1) if record.quick else (dynamic_time.PASSES, REPEATS)
    dynamic_time.collect(record, task, every, passes=passes)
    dynamic_batch.collect(record, task, every, folder, repeats=repeats)


def _tasks(record: Record) -> tuple[str, ...]:
    """All whose data there is."""
    if os.environ.get(CIFAR):
        return "fashion", "cifar10"
    if any(row["task"] == "cifar10" for row in record.rows(dynamic_answers.FILE)):
        raise RuntimeError(f"figures of CIFAR-10 were kept, but {CIFAR} names no file of it; set it")
    print(f"{CIFAR} names no npz file of CIFAR-10, so that it is left out", file=sys.stderr)
    return ("fashion",)


def heads_share_pct(task: Task, folder: Path) -> float:
    """Of the MACs of our network with all its heads, those of the heads."""
    costs = CascadeCost.of_graph(space_of("dynamic", task).graph(chosen(folder)[0]))
    return 100 * sum(costs.heads) / sum(costs.heads + costs.trunks)


def main() -> None:
    torch.set_num_threads(1)
    record = Record("dynamic", __doc__ or "")
    names = ("quick",) if record.quick else _tasks(record)
    runs = record.raw / "runs" if record.quick else ROOT / "runs" / "dynamic"
    headline: dict[str, float | None] = {}
    parts = [NOTES.strip()]
    for name in names:
        task, folder = TASKS[name], runs / name
        measure(record, task, folder, prepare(record, task, folder))
        found = dynamic_figures.figures(record, name, heads_share_pct(task, folder))
        headline |= {f"{name}_{figure}": value for figure, value in found.items()}
        parts += [f"## {name}", f"![Accuracy over cost]({dynamic_plot.plot(record, name)})"]
        for heading, table in TABLES.items():
            parts += [f"### {heading}", table(record, name)]
    record.finish(headline, "\n\n".join(parts))


NOTES = """
Each data set has one recipe for all systems, that of CIFAR-10 with shift and flip as MSDNet's own; but
lin_grow, the largest, sees two of five epochs, and the exits of ours are taught as the last table says,
which `msdnet-ours` is too, with one seed. A first search, of 40 short trainings (`*_static.csv`), is for
networks of one budget each. One of 20 (`*_dynamic.csv`) is for ours, for the mean accuracy of exits over
budgets at equal ratios, up to two thirds of what MSDNet's last exit takes. It begins with what was made by
hand of the first's best at 0.7 and at 0.85 of the range's lower end: with one further pass or two behind it,
and its coarsest scale of 64, 96 or 128 channels, as far as that is within the budget; what is left of the
trainings its sampler chooses. Both have the same limits for the last exit. The five best of ours are trained
in full, and validation decides. So it does between two networks of one budget for each of three levels: up
to the predicted time of our first exit, up to that of our middle one (or between the ends, where there are
two), and up to that of our last, each longer than the level before if there is such a one. These are
`static0` to `static2`: 40 short and 6 full trainings for three networks, where ours had 20 and 5 more for
one. All trainings that choose have a seed that is not among those told, but for the way in which ours is
taught: that is chosen for all data sets on validation images of Fashion-MNIST with the seeds told, where it
is ahead within error.

A run goes on with the rows that are here, on another machine too, once its searches have ended;
`*_chosen.json` keeps what they came to. Networks are not kept: for budgets and as a teacher they are trained
once more where they are needed, which on another kind of processor rounds otherwise. All times of a data set
are of one machine.

`in_turn`: the three networks of one budget, one after another, with their answers averaged. `alone0`,
`alone1`: our own network as far as an exit, trained with that exit alone; they too count among the networks
of one budget. Searches, options and thresholds see validation images only.

`times.csv`: each exit as one graph of its own (`ms`), the form in which no system pays for the number of its
exits, and as the chain of segments that ships (`staged_ms`); the least of three medians. Where only time is
asked, weights are those before training. `answers.csv`: which test images each exit names right, as bits.
`budgets.csv`: thresholds solved on validation from five mean budgets, and the test set run with them.

`anytime_gap_*`: how many points ours is above MSDNet at each cost of an exit of either, from the dearer of
the first exits on, each on its isotonic curve of means over seeds; `_min` grants one standard error, `_raw`
none. `ms_ratio_at_msdnet_last`: milliseconds of our first exit that is as accurate as MSDNet's last on such
curves, over that one's, nothing where none is; the interval (5 to 95 %) has no end where more than 5 % of
resamples have none. Milliseconds are of exits as one graph each, those called staged of the form that ships.
`static_gap_*`: how many points the networks of one budget are ahead at our levels, all in the form that
ships, on the line through them over the logarithm of time; `_max` grants one standard error.

Standard errors are of a bootstrap over images, which all systems share, and over seeds, which are drawn for
each system by itself, as trainings are independent; as three seeds show too little, that part counts n / (n
- 1). Beside a system of one seed they know nothing of its seeds, and none knows of errors of timing.

`batch_speedup_ratio`: wall-clock speed-up of the test set in batches of 256 over the one predicted from the
segments' times in such batches, the least over the budgets. `budget_error_*`: mean absolute deviation of
what test images took from the budget; milliseconds are wall-clock, one image at a time. `budgeted_gap_*`:
how many points ours is ahead of the line through the networks of one budget at what it spent on test images
on average, by MACs or by wall-clock in the same runtime (`whole.csv`), one by one and in batches; `go on` is
the share of images that the first exit does not answer. Wall-clock is the least of several runs; that of
Fashion-MNIST was taken budget by budget, before all budgets of a network were run in turn. The last table
tells how many points each way to teach exits gains over the main run, on the same seeds; the error is that
of the mean over exits on test images.
"""

if __name__ == "__main__":
    main()
