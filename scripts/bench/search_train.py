"""A search that trains: `mixed` on Fashion-MNIST within 10 M MACs, by samplers with the same trainings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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
from nas.search import Maximize, Minimize, Study
from nas.train import SHORT_CONFIG, ShortTraining

__all__ = ["collect", "figures", "markdown", "plot"]

FILE = "trainings.csv"
SAMPLERS = ("known-cost", "tpe", "random")
BOUND = 10_000_000
REFERENCE = (0.5, BOUND)  # error and MACs
COLORS = {"known-cost": "#d1495b", "tpe": "#2e6f95", "random": "#8a8a8a"}

Curves = dict[str, np.ndarray]


def collect(record: Record, *, seeds: int, trials: int, images: int) -> None:
    """One row per search, its trainings in their order. One that was interrupted goes on from `runs`."""
    done = {(row["sampler"], row["seed"]) for row in record.rows(FILE)}
    wanted = [
        (sampler, seed) for seed in range(seeds) for sampler in SAMPLERS if (sampler, str(seed)) not in done
    ]
    runs = record.raw if record.quick else ROOT / "runs" / f"search of {images} images"
    with ProcessPoolExecutor(os.cpu_count(), initializer=_prepare) as pool:
        searches = [
            pool.submit(_run, runs / f"{sampler} {seed}", sampler, seed, trials=trials, images=images)
            for sampler, seed in wanted
        ]
        for search in as_completed(searches):
            record.add(FILE, search.result())


def _prepare() -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def _run(folder: Path, sampler: str, seed: int, *, trials: int, images: int) -> Mapping[str, object]:
    data = load_data("fashion-mnist")
    space = load_space("search_spaces.mixed:space")
    assert isinstance(space, SearchSpace), "mixed is a space"
    study = Study(
        space.at(data.input_shape, data.num_classes),
        folder,
        objectives=[Maximize("accuracy"), Minimize("macs")],
        evaluate=ShortTraining(data, 1, replace(SHORT_CONFIG, images=images)),
        budget=f"macs<={BOUND}",
        sampler=sampler,
        seed=seed,
    )
    for _ in study.run(trials=trials):
        pass
    trained = [trial for trial in study.trials if trial.evaluated]
    return {
        "sampler": sampler,
        "seed": seed,
        "networks": _joined(trial.architecture.id[:12] for trial in trained),
        "macs": _joined(int(trial.values["macs"]) for trial in trained),
        "accuracies": _joined(f"{trial.values.get('accuracy', 0):.4f}" for trial in trained),
        "seconds": _joined(round(trial.seconds, 1) for trial in trained),
    }


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _points(row: Row) -> list[tuple[float, float]]:
    """Error and MACs of each training; one that failed has found nothing."""
    pairs = zip(row["accuracies"].split(), row["macs"].split(), strict=True)
    return [(1 - float(accuracy), float(macs)) for accuracy, macs in pairs]


def _curves(record: Record) -> Curves:
    """By sampler the share of the box below the reference that is dominated, `(seeds, trainings)`."""
    found: dict[str, list[list[float]]] = {}
    for row in record.rows(FILE):
        points = _points(row)
        curve = [_share(points[: end + 1]) for end in range(len(points))]
        found.setdefault(row["sampler"], []).append(curve)
    return {name: np.array(curves) for name, curves in found.items()}


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
    for name in sorted(set(curves) - {"known-cost"}):
        there = own >= curves[name].mean(0)[-1]
        found[f"trainings_to_match_{name}"] = int(there.argmax()) + 1 if there.any() else len(own) + 1
    return found


def markdown(record: Record) -> str:
    """Each search by itself: its share at the end, its most accurate network and its trainings."""
    lines = [
        "| sampler | seed | share of the box | best accuracy | trainings | hours |",
        "| --- " + "| --: " * 5 + "|",
    ]
    for row in record.rows(FILE):
        points, seconds = _points(row), map(float, row["seconds"].split())
        best, hours = 1 - min(error for error, _ in points), sum(seconds) / 3600
        lines.append(
            f"| {row['sampler']} | {row['seed']} | {_share(points):.4f} | {best:.2%} | {len(points)} "
            f"| {hours:.2f} |"
        )
    return "\n".join(lines) + "\n"


def plot(record: Record) -> None:
    """The curves of all searches with their means, and what was trained."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for name, curves in _curves(record).items():
        places = range(1, curves.shape[1] + 1)
        left.plot(places, curves.T, color=COLORS[name], linewidth=0.7, alpha=0.5)
        left.plot(places, curves.mean(0), color=COLORS[name], linewidth=2.2, label=name)
        points = [point for row in record.rows(FILE) if row["sampler"] == name for point in _points(row)]
        errors, macs = zip(*points, strict=True)
        right.scatter(np.array(macs) / 1e6, 100 * (1 - np.array(errors)), s=10, color=COLORS[name])
    left.set_xlabel("networks trained")
    left.set_ylabel("share of the box (50 % error, 10 MMAC)")
    left.set_ylim(bottom=0.5)
    left.legend(frameon=False)
    right.set_xscale("log")
    right.set_xlabel("MMAC")
    right.set_ylabel("validation accuracy, %")
    right.set_ylim(bottom=50)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(record.raw / "trainings.png", dpi=120)
