"""What a search costs beside its trainings: proposals, stored trials, and networks that are rare."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import final

import optuna
from record import Record, Row

from nas import Architecture, Budget, SearchSpace, load_space
from nas.cost import Cost
from nas.latency import Calibration, LocalTarget, calibrate
from nas.search import History, KnownCost, Maximize, Minimize, Problem, Proposer, Study, Trial
from nas.search.judge import Judge

PROPOSALS, OVERHEADS, TIGHT = "proposals.csv", "overheads.csv", "tight.csv"
OBJECTIVES = (Maximize("accuracy"), Minimize("latency_ms"))
REPEATS = 5
SQLITE_TRIALS = 60  # more would take long, and they get slower
ONE_IN = 100_000


def collect(record: Record, *, trials: int, tight: int) -> None:
    space = load_space("search_spaces.mixed:space")
    assert isinstance(space, SearchSpace), "mixed is a space"
    if not record.rows(PROPOSALS):
        for row in list(_proposals(space, (100, trials), calibrate_s=10 if record.quick else 30)):
            record.add(PROPOSALS, row)
    if not record.rows(OVERHEADS):
        for row in [_own_overhead(space, trials), _sqlite_overhead(space)]:
            record.add(OVERHEADS, row)
    if not record.rows(TIGHT):
        record.add(TIGHT, _tight(space, tight, drawn=5000 if record.quick else 2 * ONE_IN))


def _proposals(space: SearchSpace, sizes: tuple[int, ...], calibrate_s: float) -> Iterator[dict[str, object]]:
    """Seconds of a proposal after so many trials, with MACs counted and latency predicted."""
    target = LocalTarget()
    *_, measured = calibrate(space, target, seconds=calibrate_s)
    calibration = Calibration.of(space, target.identity, measured)
    budget = Budget.parse("macs<=100M")
    judge = Judge(budget, ("accuracy", "latency_ms"), {"latency_ms": calibration})
    problem = Problem(space, judge, OBJECTIVES, budget)
    done = list(_random_trials(problem, max(sizes)))
    for size in sizes:
        history = History(done[:size], (), {trial.architecture.id for trial in done[:size]})
        for repeat in range(REPEATS):
            start = perf_counter()
            KnownCost().propose(problem, history, Random(repeat))
            yield {"trials": size, "seconds": perf_counter() - start}


def _random_trials(problem: Problem, count: int) -> Iterator[Trial]:
    rng, number = Random(0), 0
    while number < count:
        known = problem.assess(problem.space.sample(rng))
        if known is not None and known.fits:
            accuracy = known.values["params"] ** 0.1 / 10 + rng.uniform(0, 0.1)
            yield Trial(number, known.architecture, "complete", {**known.values, "accuracy": accuracy})
            number += 1


@final
class _Given(Proposer):
    """Proposes what was drawn before, so that nothing but the engine takes time."""

    def __init__(self, networks: list[Architecture]) -> None:
        self._networks = networks

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        return self._networks[len(history.seen)]


def _own_overhead(space: SearchSpace, trials: int) -> dict[str, object]:
    """Milliseconds per trial, of the last hundred of so many in a durable study."""
    rng, networks = Random(1), dict[str, Architecture]()
    while len(networks) < trials:
        architecture = space.sample(rng)
        networks[architecture.id] = architecture
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            space,
            folder,
            objectives=[Maximize("accuracy"), Minimize("macs")],
            evaluate=lambda candidate: {"accuracy": 0.5},
            sampler=_Given(list(networks.values())),
        )
        last = perf_counter()
        for _ in study.run(trials=trials):
            spent.append(perf_counter() - last)
            last = perf_counter()
    return {"engine": "this project", "trials": trials, "ms": 1e3 * median(spent[-100:])}


def _sqlite_overhead(space: SearchSpace) -> dict[str, object]:
    """The same of Optuna in SQLite, of its first trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spent: list[float] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        # Options depend on other choices, which Optuna allows under different names only.
        candidate = space.candidate(
            lambda name, options: trial.suggest_categorical(f"{name} of {options}", options)
        )
        return 0.5, Cost.of(candidate.graph).macs

    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{Path(folder) / 'study.db'}"
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize", "minimize"])
        for _ in range(SQLITE_TRIALS):
            start = perf_counter()
            study.optimize(objective, n_trials=1)
            spent.append(perf_counter() - start)
    return {"engine": "Optuna in SQLite", "trials": SQLITE_TRIALS, "ms": 1e3 * median(spent)}


def _tight(space: SearchSpace, proposals: int, drawn: int) -> dict[str, object]:
    """Seconds for so many networks of a budget that one in a hundred thousand random ones keeps."""
    rng = Random(2)
    macs = sorted(Cost.of(space.graph(space.sample(rng))).macs for _ in range(drawn))
    bound = macs[max(0, drawn // ONE_IN - 1)]
    space = space.at(space.input_shape, space.num_classes)  # which remembers none of them
    start = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            space,
            folder,
            objectives=[Maximize("accuracy"), Minimize("macs")],
            evaluate=lambda candidate: {"accuracy": Random(candidate.id).random()},
            budget=f"macs<={bound}",
        )
        trials = list(study.run(trials=proposals))
        seconds = perf_counter() - start
    fitting = sum(trial.values["macs"] <= bound for trial in trials if trial.evaluated)
    return {
        "drawn": drawn,
        "bound_macs": bound,
        "proposals": proposals,
        "fitting": fitting,
        "seconds": seconds,
    }


def figures(record: Record) -> dict[str, float]:
    """Medians of proposals and trials; of the tight budget the seconds for all."""
    seconds: dict[int, list[float]] = {}
    for row in record.rows(PROPOSALS):
        seconds.setdefault(int(row["trials"]), []).append(float(row["seconds"]))
    overheads = {row["engine"]: float(row["ms"]) for row in record.rows(OVERHEADS)}
    return {
        **{f"proposal_s_{size}": round(median(each), 3) for size, each in seconds.items()},
        "overhead_ms": round(overheads["this project"], 3),
        "overhead_sqlite_ms": round(overheads["Optuna in SQLite"], 3),
        "tight_feasible_s": _tight_s(record.rows(TIGHT)[0]),
    }


def _tight_s(row: Row) -> float:
    """Seconds for all proposals; infinite where not all were found."""
    return round(float(row["seconds"]), 2) if row["fitting"] == row["proposals"] else math.inf


def markdown(record: Record) -> str:
    """What the figures of cost mean, in a sentence each."""
    tight = record.rows(TIGHT)[0]
    return (
        "`proposals.csv`: a proposal in `mixed` with MACs and predicted latency. `overheads.csv`: a trial "
        f"whose proposal and evaluation take nothing. `tight.csv`: a budget of {tight['bound_macs']} MACs, "
        f"which one in {ONE_IN} of {tight['drawn']} random networks of `mixed` keeps.\n"
    )
