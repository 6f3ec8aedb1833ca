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

__all__ = [
    "POINTS",
    "RESAMPLES",
    "Curve",
    "Floats",
    "curve_of",
    "isotonic",
    "resampled",
    "right_by_seed",
    "standard_errors",
    "systems_of",
]

RESAMPLES = 400
POINTS = 100.0  # accuracies are told in percent points
Floats = NDArray[np.float64]
Figure = Callable[..., NDArray[np.float64]]


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
        right = self.right if seeds is None else self.right[seeds]
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
    right = right_by_seed(record, task, system)
    exits = range(right.shape[1])
    if system == dynamic_answers.ENSEMBLE:
        members = [curve_of(record, task, f"static{level}") for level in exits]
        costs = [
            np.cumsum([member.costs(name)[-1] for member in members]) for name in ("macs", "ms", "staged_ms")
        ]
        return Curve(system, *costs, right)
    times = _rows(record, dynamic_time.FILE, task, system)
    least = [
        # Noise may find an exit faster than the one before it; it is told the time of that one then.
        np.maximum.accumulate(
            [min(float(row[name]) for row in times if int(row["exit"]) == exit) for exit in exits]
        )
        for name in ("macs", "ms", "staged_ms")
    ]
    return Curve(system, *least, right)


def right_by_seed(record: Record, task: str, system: str) -> NDArray[np.bool_]:
    """Which test images each seed's exits name right, (seeds, exits, images)."""
    answers = _rows(record, dynamic_answers.FILE, task, system)
    answers.sort(key=lambda row: (int(row["seed"]), int(row["exit"])))
    count = len({row["seed"] for row in answers})
    right = np.array([dynamic_answers.right_of(row) for row in answers])
    return right.reshape(count, len(answers) // count, -1)


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


def resampled(
    curves: Sequence[Curve],
    figure: Callable[..., NDArray[np.float64]],
    *,
    images: bool = True,
    seeds: bool = True,
) -> NDArray[np.float64]:
    """A figure of accuracies, one argument per curve, over resamples.

    Images are drawn for all systems together, for they see the same ones; seeds for each by itself.
    """
    rng, found = np.random.default_rng(0), []
    count = curves[0].right.shape[2]
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, count, count) if images else None
        chosen = [rng.integers(0, len(curve.right), len(curve.right)) if seeds else None for curve in curves]
        found.append(
            figure(*(curve.accuracies(each, drawn) for curve, each in zip(curves, chosen, strict=True)))
        )
    return np.array(found)


def standard_errors(
    curves: Sequence[Curve], figure: Callable[..., NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Of a figure: what images and what seeds make of it. Of few seeds a resample shows too little."""
    by_images = resampled(curves, figure, seeds=False).var(axis=0)
    count = max(len(curve.right) for curve in curves)
    by_seeds = resampled(curves, figure, images=False).var(axis=0) * (count / max(1, count - 1))
    found: NDArray[np.float64] = np.sqrt(by_images + by_seeds)
    return found


def _rows(record: Record, file: str, task: str, system: str) -> list[Row]:
    found = [row for row in record.rows(file) if (row["task"], row["system"]) == (task, system)]
    assert found, f"{file} has nothing of {system} for {task}"
    return found
