"""A search that trains: `mixed` on Fashion-MNIST within 10 M MACs, by samplers with the same trainings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import torch
from matplotlib.figure import Figure
from record import ROOT, Record, Row

from nas import SearchSpace, load_space
from nas.data import load_data
from nas.pareto import hypervolume, non_dominated
from nas.search import Maximize, Minimize, Study, Trial
from nas.train import SHORT_CONFIG, ShortTraining

__all__ = ["collect", "figures", "markdown", "plot"]

FILE = "trainings.csv"
SAMPLERS = ("known-cost", "tpe", "random")
BOUND = 10_000_000
REFERENCE = (0.5, BOUND)  # error and MACs
COLORS = {"known-cost": "#d1495b", "tpe": "#2e6f95", "random": "#8a8a8a"}

Curves = dict[str, np.ndarray]


def collect(record: Record, *, seeds: int, trials: int, images: int) -> None:
    """One row per training. A search that was interrupted goes on from its folder in `runs`."""
    done = {(row["sampler"], row["seed"]) for row in record.rows(FILE)}
    wanted = [
        (sampler, seed) for seed in range(seeds) for sampler in SAMPLERS if (sampler, str(seed)) not in done
    ]
    runs = ROOT / "runs" / ("search_quick" if record.quick else "search")
    with ProcessPoolExecutor(os.cpu_count(), initializer=_prepare) as pool:
        searches = [pool.submit(_run, *each, trials, images, runs) for each in wanted]
        for search in as_completed(searches):
            for row in search.result():
                record.add(FILE, row)


def _prepare() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _run(sampler: str, seed: int, trials: int, images: int, runs: Path) -> list[Mapping[str, object]]:
    data = load_data("fashion-mnist")
    space = load_space("search_spaces.mixed:space")
    assert isinstance(space, SearchSpace), "mixed is a space"
    study = Study(
        space.at(data.input_shape, data.num_classes),
        runs / f"{sampler}-{seed}",
        objectives=[Maximize("accuracy"), Minimize("macs")],
        evaluate=ShortTraining(data, 1, replace(SHORT_CONFIG, images=images)),
        budget=f"macs<={BOUND}",
        sampler=sampler,
        seed=seed,
    )
    for _ in study.run(trials=trials):
        pass
    return [_row(trial, sampler, seed) for trial in study.trials if trial.evaluated]


def _row(trial: Trial, sampler: str, seed: int) -> Mapping[str, object]:
    return {
        "sampler": sampler,
        "seed": seed,
        "trial": trial.number,
        "state": trial.state,
        "network": trial.architecture.id,
        "macs": int(trial.values["macs"]),
        "accuracy": trial.values.get("accuracy", ""),
        "seconds": round(trial.seconds, 1),
    }


def _points(rows: list[Row]) -> list[tuple[float, float]]:
    """Error and MACs; a training that failed has found nothing."""
    return [(1 - float(row["accuracy"] or 0), float(row["macs"])) for row in rows]


def _curves(record: Record) -> Curves:
    """By sampler the share of the box below the reference that is dominated, `(seeds, trainings)`."""
    searches: dict[tuple[str, str], list[Row]] = {}
    for row in record.rows(FILE):
        searches.setdefault((row["sampler"], row["seed"]), []).append(row)
    found: dict[str, list[list[float]]] = {}
    for (sampler, _), rows in searches.items():
        points = _points(rows)
        found.setdefault(sampler, []).append([_share(points[: end + 1]) for end in range(len(points))])
    shortest = min(len(curve) for curves in found.values() for curve in curves)
    return {name: np.array([curve[:shortest] for curve in curves]) for name, curves in found.items()}


def _share(points: list[tuple[float, float]]) -> float:
    return hypervolume([points[at] for at in non_dominated(points)], REFERENCE) / (REFERENCE[0] * BOUND)


def figures(record: Record) -> dict[str, float | int]:
    """Mean share at the end, and after how many trainings known-cost is where a peer ends."""
    curves = _curves(record)
    own = curves["known-cost"].mean(0)
    found: dict[str, float | int] = {
        f"train_hv_{name.replace('-', '_')}": round(float(curve.mean(0)[-1]), 4)
        for name, curve in curves.items()
    }
    for name in set(curves) - {"known-cost"}:
        there = own >= curves[name].mean(0)[-1]
        found[f"trainings_to_match_{name}"] = int(there.argmax()) + 1 if there.any() else len(own) + 1
    return found


def markdown(record: Record) -> str:
    """Each search by itself: its share at the end, its most accurate network and its trainings."""
    lines = ["| sampler | seed | share | best accuracy | trainings | hours |", "| --- " + "| --: " * 5 + "|"]
    rows = record.rows(FILE)
    for sampler, seed in dict.fromkeys((row["sampler"], row["seed"]) for row in rows):
        own = [row for row in rows if (row["sampler"], row["seed"]) == (sampler, seed)]
        best = max(float(row["accuracy"] or 0) for row in own)
        hours = sum(float(row["seconds"]) for row in own) / 3600
        lines.append(
            f"| {sampler} | {seed} | {_share(_points(own)):.4f} | {best:.2%} | {len(own)} | {hours:.2f} |"
        )
    return "\n".join(lines) + "\n"


def plot(record: Record) -> None:
    """The curves of all searches with their means, and what was trained."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    rows = record.rows(FILE)
    for name, curves in _curves(record).items():
        places = range(1, curves.shape[1] + 1)
        left.plot(places, curves.T, color=COLORS[name], linewidth=0.7, alpha=0.5)
        left.plot(places, curves.mean(0), color=COLORS[name], linewidth=2.2, label=name)
        errors, macs = zip(*_points([row for row in rows if row["sampler"] == name]), strict=True)
        right.scatter(np.array(macs) / 1e6, 100 * (1 - np.array(errors)), s=10, color=COLORS[name])
    left.set_xlabel("networks trained")
    left.set_ylabel("share of hypervolume (50 % error, 10 MMAC)")
    left.set_ylim(bottom=0.5)
    left.legend(frameon=False)
    right.set_xscale("log")
    right.set_xlabel("MMAC")
    right.set_ylabel("validation accuracy, %")
    right.set_ylim(bottom=50)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(record.raw / "trainings.png", dpi=120)
