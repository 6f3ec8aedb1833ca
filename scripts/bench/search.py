"""Searches beside those that users could pick instead: by networks trained, and what they cost."""

from __future__ import annotations

import search_cost
import search_kill
import search_table
import search_train
import twins_table
from record import Record

PEERS = ("local", "evolution", "random", "tpe", "nsga2", "optuna-tpe", "optuna-nsga2")
SLOW_PEERS = ("gp", "optuna-gp")  # a minute and more for a search, so of fewer seeds, and for one problem


def collect(record: Record) -> None:
    """All parts, those first that the headline figures are of; some four hours of one core."""
    twins_table.collect(record)
    problems = search_table.problems(record)
    search_table.collect(record, problems, ["known-cost"], seeds=20)
    search_cost.collect(record, trials=5000, tight=100)
    search_kill.collect(record, runs=100)
    search_train.collect(record, seeds=2, trials=32, images=12_288)
    search_table.collect(record, problems, PEERS, seeds=10)
    front = [problem for problem in problems if problem.name == "macro"]
    search_table.collect(record, front, SLOW_PEERS, seeds=3)


def collect_quick(record: Record) -> None:
    twins_table.collect(record, epochs=1, seeds=1, images=64)
    problems = search_table.problems(record)
    search_table.collect(record, problems, ["known-cost", "random"], seeds=1, networks=30)
    search_cost.collect(record, trials=200, tight=10)
    search_kill.collect(record, runs=3)
    search_train.collect(record, seeds=1, trials=3, images=640)


def main() -> None:
    record = Record("search", __doc__ or "")
    if record.quick:
        collect_quick(record)
    else:
        collect(record)
    curves = search_table.curves(record)
    search_table.plot(curves, record.raw)
    search_train.plot(record)
    headline = {
        **search_table.figures(curves, record),
        **search_cost.figures(record),
        **search_kill.figures(record.rows(search_kill.FILE)),
        **search_train.figures(record),
    }
    tables = (search_table.markdown(curves), search_train.markdown(record), search_cost.markdown(record))
    record.finish(headline, "\n".join((NOTES, *tables, PICTURES)))


NOTES = """
`tables.csv`: for each problem, sampler and seed the networks in the order in which they were evaluated;
every answer stands in a table, so nothing is trained. `macro` is NAS-Bench-Macro
(https://arxiv.org/abs/2103.11922; set NAS_TABLES to the folder of its parquet file), hypervolume with
reference point (12 % error, 106 MMAC) over that of all 6,561 rows. `twins` is a space of this project with
conditional choices and twins, of which every network was trained for `twins.csv`; its reference point is
the median error and the largest network. With a bound the regret is the error of the best network within it
so far, minus the least in the table, in points. `optuna-` is Optuna without this project: there repeated
networks count, and so do those over the bound. All known-cost searches are the same, untuned, through the
public `Study`.

`kills.csv`: searches of 24 networks by 1, 2 and 4 processes, one of which, at random, is killed at a random
moment after it has begun to search, and started again, up to twice for each process. `lost`: networks that
were stored once and are no more, or failed, or are missing at the end; `repeated`:
trained although the folder held the result of a training, or stored twice; `untold`: trained to the end again
because the process was killed before the first training could tell its result; `stuck`: processes that did
not end, and claims left over.

`trainings.csv`: searches of `mixed` on Fashion-MNIST within 10 M MACs, 32 trainings each of one epoch of
12,288 images. All three samplers are the same engine, so none of them trains a network twice or one over the
budget. `trainings_to_match_tpe` is the number of networks after which the mean curve of known-cost has the
share of the box with which that of TPE ends.
"""

PICTURES = """
![Hypervolume and regret](curves.png)

![Searches that train](trainings.png)
"""

if __name__ == "__main__":
    main()
