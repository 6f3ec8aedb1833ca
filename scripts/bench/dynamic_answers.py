"""Which test images every system names right, kept as bits, so that all figures follow from small files."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from dynamic_data import Task
from dynamic_systems import Training, is_level
from dynamic_train import LOGITS
from numpy.typing import NDArray
from record import Record, Row

from nas.bundle import Readout
from nas.cascade import combined_logits

__all__ = ["ENSEMBLE", "FILE", "collect", "packed", "right_of", "validated"]

FILE = "answers.csv"
ENSEMBLE = "in_turn"


def collect(record: Record, task: Task, trainings: Sequence[Training], folder: Path) -> None:
    """One row per network and exit, and per ensemble of the networks of one budget, as far as trained."""
    done = {(row["system"], row["seed"]) for row in record.rows(FILE) if row["task"] == task.name}
    there = [training for training in trainings if training.done(folder).exists()]
    for training in there:
        if (training.system, str(training.seed)) not in done:
            named = training.system, training.seed, training.key
            _add(record, task, named, _logits(folder, training), training.config.readout)
    for seed in range(task.seeds):
        levels = [each for each in trainings if is_level(each.system) and each.seed == seed]
        if (ENSEMBLE, str(seed)) not in done and all(each in there for each in levels):
            parts = [_logits(folder, training) for training in levels]
            heads = {part: [each[part][-1] for each in parts] for part in ("val", "test")}
            named = ENSEMBLE, seed, "+".join(training.key for training in levels)
            _add(record, task, named, heads, Readout(combine="mean"))


def packed(right: NDArray[np.bool_]) -> dict[str, object]:
    """Columns of a row that keep whether each test image is named right."""
    return {"images": len(right), "right": base64.b64encode(np.packbits(right).tobytes()).decode()}


def right_of(row: Row) -> NDArray[np.bool_]:
    """Whether each test image is named right, (N,)."""
    bits = np.frombuffer(base64.b64decode(row["right"]), np.uint8)
    return np.unpackbits(bits, count=int(row["images"])).astype(bool)


def validated(record: Record, task: str) -> dict[tuple[str, int], float]:
    """Mean accuracy of all exits on validation images, in percent, by system and seed."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in record.rows(FILE):
        if row["task"] == task:
            found.setdefault((row["system"], int(row["seed"])), []).append(100 * float(row["val"]))
    return {name: mean(accuracies) for name, accuracies in found.items()}


def _logits(folder: Path, training: Training) -> dict[str, Sequence[NDArray[np.float32]]]:
    with np.load(training.place(folder) / LOGITS, allow_pickle=False) as archive:
        return {part: list(archive[part]) for part in ("val", "test")}


def _add(
    record: Record,
    task: Task,
    named: tuple[str, int, str],
    heads: dict[str, Sequence[NDArray[np.float32]]],
    readout: Readout,
) -> None:
    data = task.data
    labels = {"val": data.y_val, "test": data.y_test}
    right = {
        part: [
            answer.argmax(axis=1) == labels[part] for answer in combined_logits(list(heads[part]), readout)
        ]
        for part in ("val", "test")
    }
    record.add(
        FILE,
        *(
            {
                "task": task.name,
                "system": named[0],
                "seed": named[1],
                "network": named[2],
                "exit": exit,
                "val": round(float(val.mean()), 5),
                "test": round(float(test.mean()), 5),
                **packed(test),
            }
            for exit, (val, test) in enumerate(zip(right["val"], right["test"], strict=True))
        ),
    )
