"""Curves of accuracy over cost with their uncertainty, from rows that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import dynamic_answers
import dynamic_time
import numpy as np
from numpy.typing import NDArray
from record import Record, Row

__all__ = ["RESAMPLES", "Curve", "curve_of", "isotonic", "resampled", "systems_of"]

RESAMPLES = 400


@final
@dataclass(frozen=True)
class Curve:
    """A system: costs of its exits, (exits,), and which test images each seed's exits name right."""

    name: str
    macs: NDArray[np.float64]
    ms: NDArray[np.float64]
    staged_ms: NDArray[np.float64]
    right: NDArray[np.bool_]  # (seeds, exits, images)

    def accuracies(
        self, seeds: NDArray[np.intp] | None = None, images: NDArray[np.intp] | None = None
    ) -> NDArray[np.float64]:
        """Mean over seeds of the share of images, (exits,); of a resample if indices are given."""
        right = self.right if seeds is None else self.right[seeds % len(self.right)]
        found: NDArray[np.float64] = (right if images is None else right[:, :, images]).mean(axis=(0, 2))
        return found

    def costs(self, name: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = getattr(self, name)
        return found


def systems_of(record: Record, task: str) -> list[str]:
    return list(
        dict.fromkeys(row["system"] for row in record.rows(dynamic_answers.FILE) if row["task"] == task)
    )


def curve_of(record: Record, task: str, system: str) -> Curve:
    """An ensemble costs what its members cost, one after another."""
    answers = _rows(record, dynamic_answers.FILE, task, system)
    seeds = sorted({row["seed"] for row in answers})
    exits = sorted({int(row["exit"]) for row in answers})
    right = np.array(
        [
            [
                dynamic_answers.right_of(row)
                for row in sorted(answers, key=lambda row: int(row["exit"]))
                if row["seed"] == seed
            ]
            for seed in seeds
        ]
    )
    if system == dynamic_answers.ENSEMBLE:
        members = [curve_of(record, task, f"static{level}") for level in exits]
        costs = [
            np.cumsum([member.costs(name)[-1] for member in members]) for name in ("macs", "ms", "staged_ms")
        ]
        return Curve(system, *costs, right)
    times = _rows(record, dynamic_time.FILE, task, system)
    least = [
        np.array([min(float(row[name]) for row in times if int(row["exit"]) == exit) for exit in exits])
        for name in ("macs", "ms", "staged_ms")
    ]
    return Curve(system, *least, right)


def isotonic(accuracies: Sequence[float]) -> NDArray[np.float64]:
    """The nearest curve that never falls (pool adjacent violators), all exits counting alike."""
    blocks: list[list[float]] = []
    for accuracy in accuracies:
        blocks.append([accuracy, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            blocks[-1] = [
                (blocks[-1][0] * blocks[-1][1] + mean * count) / (blocks[-1][1] + count),
                blocks[-1][1] + count,
            ]
    return np.repeat([mean for mean, _ in blocks], [int(count) for _, count in blocks])


def resampled(curves: Sequence[Curve], figure: Callable[..., NDArray[np.float64]]) -> NDArray[np.float64]:
    """A figure of accuracies, one argument per curve, over resamples of images and seeds that all share."""
    rng = np.random.default_rng(0)
    images, seeds = curves[0].right.shape[2], max(len(curve.right) for curve in curves)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, seeds, seeds), rng.integers(0, images, images)
        found.append(figure(*(curve.accuracies(*drawn) for curve in curves)))
    return np.array(found)


def _rows(record: Record, file: str, task: str, system: str) -> list[Row]:
    found = [row for row in record.rows(file) if (row["task"], row["system"]) == (task, system)]
    assert found, f"{file} has nothing of {system} for {task}"
    return found
