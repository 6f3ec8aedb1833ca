"""Searches of which every answer stands in a table, so that a hundred networks take no training."""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, final

import macro
import numpy as np
import optuna
import twins
import twins_table
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from record import Record, Row

from nas import Architecture, Candidate, SearchSpace
from nas.budget import Budget
from nas.pareto import hypervolume, non_dominated
from nas.search import Minimize, Study

FILE = "tables.csv"
NETWORKS = 100
COLORS = [f"C{number}" for number in (3, 0, 1, 2, 4, 5, 6, 7, 8, 9)]
SAMPLERS = ("known-cost", "local", "evolution", "random", "tpe", "nsga2", "gp")
PLAIN = {
    "optuna-tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna-nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=20, seed=seed),
    "optuna-gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
"""Optuna by itself: repeated networks count, and budgets are constraints told after the training."""


@final
@dataclass(frozen=True)
class Table:
    """A space of which all networks are trained."""

    space: SearchSpace
    code: Callable[[Architecture], str]
    points: Mapping[str, tuple[float, int]]
    """Error in percent and MACs, by code."""
    reference: tuple[float, float]
    identity: Callable[[str], str]
    """What twins share, from the code."""

    @cached_property
    def best(self) -> float:
        """The hypervolume of all networks."""
        return hypervolume(_front(list(self.points.values())), self.reference)

    def share(self, points: list[tuple[float, int]]) -> float:
        """Hypervolume of the points over that of the table."""
        return hypervolume(_front(points), self.reference) / self.best

    def least(self, bound: float) -> float:
        """The smallest error within a number of MACs."""
        return min(error for error, macs in self.points.values() if macs <= bound)


@final
class Problem(NamedTuple):
    """A table, and what is wanted of it: the front, or (with a budget) the best network within it."""

    table: str
    bound: str

    @property
    def name(self) -> str:
        return f"{self.table} {self.bound}".strip()


@cache
def load(name: str, twins_csv: Path) -> Table:
    """The table of that name; every worker reads it once."""
    if name == "twins":
        with twins_csv.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        points = {row["network"]: (float(row["error"]), int(row["macs"])) for row in rows}
        errors, macs = zip(*points.values(), strict=True)
        return Table(twins.space, twins.code, points, (float(np.median(errors)), 1.01 * max(macs)), str)
    return Table(macro.space, macro.code, macro.points(), (12.0, 106_000_000), macro.identity)


def problems(record: Record) -> list[Problem]:
    """All that the tables are there for."""
    found = [Problem("twins", ""), Problem("twins", "macs<=60K")]
    if macro.PATH.exists():
        found += [Problem("macro", bound) for bound in ("", "macs<=40M", "macs<=60M")]
    elif not record.quick:
        sys.exit(f"NAS_TABLES must be the folder of {macro.PATH.name}, but it is not there; set it")
    return found


def collect(
    record: Record,
    problems: Sequence[Problem],
    samplers: Sequence[str],
    *,
    seeds: int,
    networks: int = NETWORKS,
) -> None:
    """One row per problem, sampler and seed: the networks in the order in which they were evaluated."""
    known = {(row["problem"], row["sampler"], row["seed"]) for row in record.rows(FILE)}
    wanted = [
        (problem, sampler, seed)
        for seed in range(seeds)
        for problem in problems
        for sampler in samplers
        if (problem.name, sampler, str(seed)) not in known
    ]
    with ProcessPoolExecutor(os.cpu_count(), initializer=_prepare) as pool:
        runs = [
            pool.submit(_run, *each, networks=networks, twins_csv=record.raw / twins_table.FILE)
            for each in wanted
        ]
        for run in as_completed(runs):
            record.add(FILE, run.result())


def _prepare() -> None:
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _run(
    problem: Problem, sampler: str, seed: int, *, networks: int, twins_csv: Path
) -> Mapping[str, object]:
    table = load(problem.table, twins_csv)
    start = perf_counter()
    search = _plain if sampler in PLAIN else _study
    codes = search(table, problem, sampler, seed=seed, networks=networks)
    return {
        "problem": problem.name,
        "sampler": sampler,
        "seed": seed,
        "seconds": round(perf_counter() - start, 2),
        "networks": " ".join(codes),
    }


def _study(table: Table, problem: Problem, sampler: str, *, seed: int, networks: int) -> list[str]:
    """The codes of the networks that this project's search evaluates."""
    objectives = [Minimize("error")] if problem.bound else [Minimize("error"), Minimize("macs")]

    def evaluate(candidate: Candidate) -> dict[str, float]:
        return {"error": table.points[table.code(candidate.architecture)][0]}

    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            table.space,
            folder,
            objectives=objectives,
            evaluate=evaluate,
            budget=problem.bound,
            sampler=sampler,
            seed=seed,
        )
        return [table.code(trial.architecture) for trial in study.run(trials=networks) if trial.evaluated]


def _plain(table: Table, problem: Problem, sampler: str, *, seed: int, networks: int) -> list[str]:
    """The codes of the networks that Optuna alone evaluates, repeats and those over the budget among them."""
    codes: list[str] = []
    bound = Budget.parse(problem.bound).limits[0].bound if problem.bound else None

    def objective(trial: optuna.Trial) -> float | tuple[float, float]:
        codes.append(table.code(table.space.resolve(trial.suggest_categorical)))
        error, macs = table.points[codes[-1]]
        if bound is None:
            return error, macs
        trial.set_constraint("macs", macs / bound - 1)
        return error

    directions = ["minimize"] if problem.bound else ["minimize", "minimize"]
    study = optuna.create_study(directions=directions, sampler=PLAIN[sampler](seed))
    study.optimize(objective, n_trials=networks)
    return codes


def _front(points: list[tuple[float, int]]) -> list[tuple[float, int]]:
    return [points[place] for place in non_dominated(points)]


def curves(record: Record) -> dict[tuple[str, str], np.ndarray]:
    """By problem and sampler: share of hypervolume, or regret in points of error, `(seeds, networks)`."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for row in record.rows(FILE):
        name, _, bound = row["problem"].partition(" ")
        table = load(name, record.raw / twins_table.FILE)
        points = [table.points[code] for code in row["networks"].split()]
        curve = _regrets(table, points, bound) if bound else _shares(table, points)
        found.setdefault((row["problem"], row["sampler"]), []).append(curve)
    return {key: np.array(each) for key, each in found.items()}


def _shares(table: Table, points: list[tuple[float, int]]) -> list[float]:
    return [table.share(points[: count + 1]) for count in range(len(points))]


def _regrets(table: Table, points: list[tuple[float, int]], bound: str) -> list[float]:
    """Those over the bound count as trained in vain."""
    most = Budget.parse(bound).limits[0].bound
    least, best, regrets = table.least(most), float("inf"), []
    for error, macs in points:
        best = min(best, error) if macs <= most else best
        regrets.append(min(best, max(error for error, _ in table.points.values())) - least)
    return regrets


def figures(curves: Mapping[tuple[str, str], np.ndarray], record: Record) -> dict[str, float | int]:
    """The headline figures of the known-cost sampler, means over the seeds."""
    found: dict[str, float | int] = {}
    front = curves.get(("macro", "known-cost"))
    for count in (25, 50, 100):
        if front is not None and count <= front.shape[1]:
            found[f"hv{count}"] = round(float(front[:, count - 1].mean()), 4)
    rows = [row for row in record.rows(FILE) if row["sampler"] == "known-cost"]
    found["repeats"] = sum(len(row["networks"].split()) - _distinct(row, record) for row in rows)
    for bound in ("40M", "60M"):
        regret = curves.get((f"macro macs<={bound}", "known-cost"))
        for count in (50, 100):
            if regret is not None and count <= regret.shape[1]:
                found[f"regret{count}_{bound}"] = round(float(regret[:, count - 1].mean()), 4)
    found["infeasible_trainings"] = sum(_infeasible(row, record) for row in rows)
    return found


def _distinct(row: Row, record: Record) -> int:
    """Networks of a search, twins counted once."""
    table = load(row["problem"].split()[0], record.raw / twins_table.FILE)
    return len({table.identity(code) for code in row["networks"].split()})


def _infeasible(row: Row, record: Record) -> int:
    name, _, bound = row["problem"].partition(" ")
    if not bound:
        return 0
    table, most = load(name, record.raw / twins_table.FILE), Budget.parse(bound).limits[0].bound
    return sum(table.points[code][1] > most for code in row["networks"].split())


def plot(curves: Mapping[tuple[str, str], np.ndarray], folder: Path) -> None:
    """One panel per problem, one line per sampler: the mean over the seeds."""
    problems = sorted({problem for problem, _ in curves})
    samplers = sorted({sampler for _, sampler in curves}, key=lambda name: (name != "known-cost", name))
    colors = {sampler: COLORS[place % len(COLORS)] for place, sampler in enumerate(samplers)}
    figure = Figure(figsize=(11, 3.6 * -(-len(problems) // 2)), layout="constrained")
    for place, problem in enumerate(problems, 1):
        axes = figure.add_subplot(-(-len(problems) // 2), 2, place)
        for (name, sampler), values in curves.items():
            if name == problem:
                own = sampler == "known-cost"
                places = range(1, values.shape[1] + 1)
                axes.plot(places, values.mean(0), color=colors[sampler], linewidth=2.4 if own else 1.0)
        axes.set_title(problem, loc="left")
        axes.set_xlabel("networks trained")
        axes.set_ylabel("regret, points of error" if " " in problem else "share of hypervolume")
        if " " in problem:
            axes.set_yscale("symlog", linthresh=0.01)
        else:
            axes.set_ylim(0.6, 1.0)
        axes.spines[["top", "right"]].set_visible(False)
    lines = [Line2D([], [], color=color) for color in colors.values()]
    figure.legend(lines, list(colors), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.savefig(folder / "curves.png", dpi=120)


def markdown(curves: Mapping[tuple[str, str], np.ndarray]) -> str:
    """Mean and standard deviation over the seeds after 25, 50 and 100 networks."""
    lines = ["| problem | sampler | seeds | after 25 | 50 | 100 |", "| --- | --- | --: | --: | --: | --: |"]
    for (problem, sampler), values in sorted(curves.items()):
        cells = [
            f"{values[:, count - 1].mean():.3f} ± {values[:, count - 1].std():.3f}"
            if count <= values.shape[1]
            else ""
            for count in (25, 50, 100)
        ]
        lines.append(f"| {problem} | {sampler} | {len(values)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
