"""Thresholds solved from budgets, and the test set really run with them: one by one, in thinned batches."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from dynamic_data import Task
from dynamic_systems import Training, place_of
from dynamic_train import WEIGHTS
from numpy.typing import NDArray
from record import Record

from nas.bundle import IMAGE, BundleModel, Level, Readout
from nas.cascade import Cascade, CascadeCost, Validation, cascade_at, cost_within, spread_budgets
from nas.data import Data
from nas.export import ExportConfig, export
from nas.model import Model
from nas.runtime import Runtime, exit_predictions
from nas.runtime.sessions import tensor_names

__all__ = ["FILE", "collect"]

FILE = "budgets.csv"
BUDGETS = 5
BATCH = 256
QUICK = 1000  # test images of a quick run
NAME = "ours"
TIMED = 500  # images of which the ways through the network are timed
PASSES = 15
Key = TypeVar("Key")


def collect(record: Record, task: Task, trainings: Iterable[Training], folder: Path, *, repeats: int) -> None:
    """One row per seed of the network with exits, metric and budget."""
    done = {(row["task"], row["seed"]) for row in record.rows(FILE)}
    for training in trainings:
        if training.system == NAME and (task.name, str(training.seed)) not in done:
            model, data = Model.load(place_of(folder, training.name) / WEIGHTS), task.data
            if record.quick:
                data = replace(data, x_test=data.x_test[:QUICK], y_test=data.y_test[:QUICK])
            rows = _rows(data, model, repeats)
            record.add(FILE, *({"task": task.name, "seed": training.seed, **row} for row in rows))


def _rows(data: Data, model: Model, repeats: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as place:
        settings = ExportConfig(fused=False)
        runtime = Runtime(export({NAME: model}, Path(place) / "bundle", data=data, config=settings))
        val, test = (
            Validation.of_answers(exit_predictions(runtime, NAME, images), labels, _readout(runtime))
            for images, labels in ((data.x_val, data.y_val), (data.x_test, data.y_test))
        )
        macs = CascadeCost.of_graph(model.graph)
        times, batched = _path_times(runtime, data.x_val), _batch_times(runtime, data.x_test[:BATCH])
        rows = []
        for costs in (macs, times):
            for budget in spread_budgets(val, costs, BUDGETS):
                cascade = cost_within(val, costs, budget)
                other = cascade_at(test, costs, cascade.thresholds)
                rows.append(
                    {
                        "metric": costs.metric,
                        "budget": budget,
                        "val_cost": round(float(cascade.cost), 6),
                        "margin": round(cascade.margin, 6),
                        "test_cost": round(other.cost, 6),
                        "val_accuracy": round(cascade.accuracy, 5),
                        "test_accuracy": round(other.accuracy, 5),
                        "exit": cascade.exit,
                        "shares": " ".join(f"{share:.4f}" for share in other.shares),
                        "macs_speedup": round(_speedup(macs, cascade, test), 4),
                        "batch_speedup_predicted": round(_speedup(batched, cascade, test), 4),
                        **_run(runtime, cascade, data.x_test, repeats),
                    }
                )
        return rows


def _readout(runtime: Runtime) -> Readout:
    return runtime.bundle.model(NAME).readout


def _path_times(runtime: Runtime, images: NDArray[np.uint8]) -> CascadeCost:
    """Milliseconds of one image in the form in which it will run, Python around the segments included."""
    exits = range(runtime.bundle.model(NAME).exits)
    singles = [image[None] for image in images[:TIMED]]

    def path(exit: int, *, asks: bool) -> Callable[[], object]:
        limits = tuple(1.0 if asks and k < exit else 2.0 for k in exits[:-1])
        level = Level(model=NAME, exit=exit, accuracy=0, macs=0, thresholds=limits)
        return lambda: [runtime.run(single, level) for single in singles]

    calls = {(exit, asks): path(exit, asks=asks) for exit in exits for asks in (False, True)}
    least = _least_in_turn(calls, PASSES)
    alone, asking = ([1e3 * least[exit, asks] / TIMED for exit in exits] for asks in (False, True))
    return CascadeCost.of_paths("latency_ms", alone, asking)


def _batch_times(runtime: Runtime, images: NDArray[np.uint8]) -> CascadeCost:
    """Milliseconds of each segment for an image of a full batch."""
    model = runtime.bundle.model(NAME)
    features, found = {IMAGE: images}, dict.fromkeys(_names(model), 0.0)
    for segment in model.segments:
        session = runtime.session(model, segment)
        inputs, outputs = tensor_names(session)
        given = {name: features[name] for name in inputs}
        found[segment.name] = 1e3 * _least_s(lambda: session.run(outputs, given), 15) / len(images)  # noqa: B023
        features |= dict(zip(outputs, session.run(outputs, given), strict=True))
    exits = range(model.exits)
    parts = (tuple(found[f"{kind}_{exit}"] for exit in exits) for kind in ("trunk", "head"))
    return CascadeCost("latency_ms", *parts)


def _names(model: BundleModel) -> list[str]:
    return [f"{kind}_{exit}" for exit in range(model.exits) for kind in ("trunk", "head")]


def _speedup(costs: CascadeCost, cascade: Cascade, test: Validation) -> float:
    """Over the last exit with its head alone."""
    whole = costs.leaving([False] * (costs.exits - 1))[-1]
    return float(whole / cascade_at(test, costs, cascade.thresholds).cost)


def _run(runtime: Runtime, cascade: Cascade, images: NDArray[np.uint8], repeats: int) -> dict[str, object]:
    """Wall-clock of the whole set: one by one with thresholds, and in batches with and without."""
    last = runtime.bundle.model(NAME).exits - 1
    whole = Level(model=NAME, exit=last, accuracy=0, macs=0)
    level = Level(model=NAME, exit=cascade.exit, accuracy=0, macs=0, thresholds=cascade.thresholds)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    singles = [image[None] for image in images]

    def run(parts: list[NDArray[np.uint8]], at: Level) -> Callable[[], object]:
        return lambda: [runtime.run(part, at) for part in parts]

    calls = {
        "single_ms": run(singles, level),
        "batch_ms": run(batches, level),
        "whole_ms": run(batches, whole),
    }
    least = _least_in_turn(calls, repeats)
    found = {name: round(1e3 * seconds / len(images), 6) for name, seconds in least.items()}
    return {**found, "batch_speedup": round(found["whole_ms"] / found["batch_ms"], 4)}


def _least_in_turn(calls: Mapping[Key, Callable[[], object]], repeats: int) -> dict[Key, float]:
    """Least seconds of each, all in turn, so that a slow phase of the machine meets all."""
    least = {key: _least_s(call, 1) for key, call in calls.items()}  # once to warm up
    for _ in range(repeats):
        least = {key: min(least[key], _least_s(call, 1)) for key, call in calls.items()}
    return least


def _least_s(call: Callable[[], object], times: int) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)
