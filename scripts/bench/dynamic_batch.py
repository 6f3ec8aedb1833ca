"""Thresholds solved from budgets, and the test set really run with them: one by one, in thinned batches.

Networks of one budget run it as they are, in the same runtime.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from dynamic_answers import packed
from dynamic_data import Task
from dynamic_systems import Training, is_rival
from dynamic_time import machine_id
from dynamic_train import WEIGHTS, graph_of
from numpy.typing import NDArray
from record import Record

from nas.bundle import IMAGE, BundleModel, Level, Readout
from nas.cascade import Cascade, CascadeCost, Validation, cascade_at, cost_within, spread_budgets
from nas.data import Data
from nas.export import ExportConfig, export
from nas.model import Model
from nas.runtime import Prediction, Runtime, exit_predictions
from nas.runtime.sessions import tensor_names

__all__ = ["BUDGETS", "FILE", "WHOLE_FILE", "collect", "runs_budgets"]

FILE = "budgets.csv"
WHOLE_FILE = "whole.csv"
BUDGETS = 5
BATCH = 256
QUICK = 1000  # test images of a quick run
OTHERS = ("msdnet-0",)  # networks with exits that run beside ours
NAME = "network"  # in a bundle
TIMED = 500  # images of which the ways through the network are timed
ROUNDED = 0.002  # share of images that rounding may let leave elsewhere in a batch
Key = TypeVar("Key")


def collect(record: Record, task: Task, trainings: Iterable[Training], folder: Path, *, repeats: int) -> None:
    """One row per network with exits, metric and budget; one per network of one budget.

    Of the latter nothing but time is asked, which does not depend on weights, once for each seed.
    """
    done = {
        file: {(row["task"], row["system"], row["seed"]) for row in record.rows(file)}
        for file in (FILE, WHOLE_FILE)
    }
    for training in trainings:
        if runs_budgets(training):
            file, rows_of = FILE, _rows
        elif is_rival(training.system):
            file, rows_of = WHOLE_FILE, _whole
        else:
            continue
        if (task.name, training.system, str(training.seed)) in done[file]:
            continue
        trained = file == FILE
        model = Model.load(training.place(folder) / WEIGHTS) if trained else Model(graph_of(training))
        data = task.data
        if record.quick:
            data = replace(data, x_test=data.x_test[:QUICK], y_test=data.y_test[:QUICK])
        named = {"task": task.name, "system": training.system, "seed": training.seed}
        named |= {"network": training.key, "machine": machine_id()}
        with _exported(model, data) as runtime:
            found = rows_of(data, model, runtime, repeats)
            record.add(file, *({**named, **row} for row in found))


def runs_budgets(training: Training) -> bool:
    """Whether the trained network must be there, for thresholds are solved for it."""
    return training.system == "ours" or training.name in OTHERS


@contextmanager
def _exported(model: Model, data: Data) -> Iterator[Runtime]:
    with tempfile.TemporaryDirectory() as place:
        settings = ExportConfig(fused=False)
        yield Runtime(export({NAME: model}, Path(place) / "bundle", data=data, config=settings))


def _whole(data: Data, model: Model, runtime: Runtime, repeats: int) -> list[dict[str, object]]:
    level = Level(model=NAME, exit=len(model.graph.exits) - 1, accuracy=0, macs=0)
    parts = {"single_ms": _singles(data.x_test), "batch_ms": _batches(data.x_test)}
    return [_per_image({name: _run(runtime, each, level) for name, each in parts.items()}, data, repeats)]


def _rows(data: Data, model: Model, runtime: Runtime, repeats: int) -> list[dict[str, object]]:
    val, test = (
        Validation.of_answers(exit_predictions(runtime, NAME, images), labels, _readout(runtime))
        for images, labels in ((data.x_val, data.y_val), (data.x_test, data.y_test))
    )
    macs = CascadeCost.of_graph(model.graph)
    times = _path_times(runtime, data.x_val, passes=10 * repeats)
    batched = _batch_times(runtime, data.x_test[:BATCH])
    cascades = [
        (costs, budget, cost_within(val, costs, budget))
        for costs in (macs, times)
        for budget in spread_budgets(val, costs, BUDGETS)
    ]
    took = _cascade_times(runtime, [cascade for *_, cascade in cascades], data, repeats)
    rows: list[dict[str, object]] = []
    for (costs, budget, cascade), taken in zip(cascades, took, strict=True):
        other = cascade_at(test, costs, cascade.thresholds)
        right = _right(runtime, cascade, data, other)
        rows.append(
            {
                "metric": costs.metric,
                "budget": budget,
                "val_cost": round(float(cascade.cost), 6),
                "margin": round(cascade.margin, 6),
                "test_cost": round(other.cost, 6),
                "val_accuracy": round(cascade.accuracy, 5),
                "test_accuracy": round(float(right.mean()), 5),
                "exit": cascade.exit,
                "shares": " ".join(f"{share:.4f}" for share in other.shares),
                "macs_speedup": round(_speedup(macs, cascade, test), 4),
                "batch_speedup_predicted": round(_speedup(batched, cascade, test), 4),
                **taken,
                **packed(right),
            }
        )
    return rows


def _readout(runtime: Runtime) -> Readout:
    return runtime.bundle.model(NAME).readout


def _path_times(runtime: Runtime, images: NDArray[np.uint8], *, passes: int) -> CascadeCost:
    """Milliseconds of one image in the form in which it will run, Python around the segments included."""
    exits = range(runtime.bundle.model(NAME).exits)
    singles = _singles(images[:TIMED])

    def path(exit: int, *, asks: bool) -> Callable[[], list[Prediction]]:
        limits = tuple(1.0 if asks and k < exit else 2.0 for k in exits[:-1])
        return _run(runtime, singles, Level(model=NAME, exit=exit, accuracy=0, macs=0, thresholds=limits))

    calls = {(exit, asks): path(exit, asks=asks) for exit in exits for asks in (False, True)}
    for (exit, _), call in calls.items():
        assert all((answer.exits == exit).all() for answer in call()), "no image left before"
    least = _least_in_turn(calls, passes)
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


def _right(runtime: Runtime, cascade: Cascade, data: Data, booked: Cascade) -> NDArray[np.bool_]:
    """Whether each test image is named right in a batch; they must leave where booked, but for rounding."""
    answers = [runtime.run(part, _level(cascade)) for part in _batches(data.x_test)]
    exits = np.concatenate([answer.exits for answer in answers])
    shares = np.bincount(exits, minlength=len(booked.shares)) / len(exits)
    assert np.abs(shares - booked.shares).max() <= ROUNDED, "the runtime does what thresholds say"
    right: NDArray[np.bool_] = np.concatenate([answer.labels for answer in answers]) == data.y_test
    return right


def _level(cascade: Cascade) -> Level:
    return Level(model=NAME, exit=cascade.exit, accuracy=0, macs=0, thresholds=cascade.thresholds)


def _cascade_times(
    runtime: Runtime, cascades: Sequence[Cascade], data: Data, repeats: int
) -> list[dict[str, float]]:
    """Wall-clock of the whole set: one by one with thresholds, and in batches with and without.

    All in turn, so that none has a slow phase of the machine for itself.
    """
    whole = Level(model=NAME, exit=runtime.bundle.model(NAME).exits - 1, accuracy=0, macs=0)
    forms = {"single_ms": _singles(data.x_test), "batch_ms": _batches(data.x_test)}
    calls = {
        (name, number): _run(runtime, parts, _level(cascade))
        for number, cascade in enumerate(cascades)
        for name, parts in forms.items()
    }
    calls["whole_ms", 0] = _run(runtime, forms["batch_ms"], whole)
    found = _per_image(calls, data, repeats)
    whole_ms = found["whole_ms", 0]
    each = [{name: found[name, number] for name in forms} for number in range(len(cascades))]
    return [
        {**taken, "whole_ms": whole_ms, "batch_speedup": round(whole_ms / taken["batch_ms"], 4)}
        for taken in each
    ]


def _singles(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [image[None] for image in images]


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def _run(runtime: Runtime, parts: list[NDArray[np.uint8]], level: Level) -> Callable[[], list[Prediction]]:
    return lambda: [runtime.run(part, level) for part in parts]


def _per_image(calls: Mapping[Key, Callable[[], object]], data: Data, repeats: int) -> dict[Key, float]:
    """Milliseconds of an image of the test set that each of these runs through."""
    least = _least_in_turn(calls, repeats)
    return {name: round(1e3 * seconds / len(data.x_test), 6) for name, seconds in least.items()}


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
