"""What the exits of exported networks are worth: logits, accuracy and time in the runtime that ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.budget import Budget
from nas.bundle import Latency, Level, exit_segments
from nas.data import Data
from nas.graph import Graph
from nas.latency import DeclaredEnergy, Target
from nas.latency.verification import keeps_limit, latency_limit, measure_files
from nas.runtime import Runtime

__all__ = ["SECONDS_PER_EXIT", "MeasuredExit", "dial_levels", "kept_precisions", "measured_exits"]

SECONDS_PER_EXIT = 2.0  # at most; a measurement ends as soon as its result is narrow

_BATCH = 256


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredExit:
    """One exit of an exported network.

    Accuracy, 0 to 1, is on validation images, which may choose levels; that on test images may not.
    """

    model: str
    exit: int
    accuracy: float
    test_accuracy: float
    macs: int
    latency: Latency | None
    energy_mj: float | None = None
    energy_source: str = ""
    keeps_budget: bool | None = None

    @property
    def level(self) -> Level:
        return Level(
            model=self.model,
            exit=self.exit,
            accuracy=self.accuracy,
            macs=self.macs,
            latency=self.latency,
            energy_mj=self.energy_mj,
            energy_source=self.energy_source,
            keeps_budget=self.keeps_budget,
        )

    def to_json(self) -> dict[str, Any]:
        return self.level.to_json() | {"test_accuracy": self.test_accuracy}


def kept_precisions(
    exits: Sequence[MeasuredExit], sources: Mapping[str, str]
) -> tuple[list[MeasuredExit], list[dict[str, Any]]]:
    """The exits without those of networks whose int8 is not faster at the last exit, and what decided.

    `sources` names for each network in int8 the one that it was made of.
    """
    last = {found.model: found for found in exits}  # the last exit of each stands last
    comparison, dropped = [], set()
    for name, source in sources.items():
        full, quantized = last[source], last[name]
        if full.latency is None or quantized.latency is None:
            continue
        kept = quantized.latency.p50_ms < full.latency.p50_ms
        dropped |= set() if kept else {name}
        comparison.append(
            {
                "model": full.model,
                "kept": kept,
                "fp32_ms": full.latency.p50_ms,
                "int8_ms": quantized.latency.p50_ms,
                "fp32_accuracy": full.accuracy,
                "int8_accuracy": quantized.accuracy,
            }
        )
    return [found for found in exits if found.model not in dropped], comparison


def dial_levels(exits: Sequence[MeasuredExit]) -> tuple[Level, ...]:
    """The exits to choose from, fastest first: those than which no faster exit of the same model is better.

    Exits of other models do not count, because going on to the next exit of one model costs least: that is
    for the policy to weigh, see `nas.bundle.undominated`. Without times, MACs stand in.
    """
    best: dict[str, float] = {}
    levels = []
    for level in sorted((found.level for found in exits), key=lambda level: (_cost(level), -level.accuracy)):
        if level.accuracy >= best.get(level.model, 0.0):
            best[level.model] = level.accuracy
            levels.append(level)
    return tuple(levels)


def measured_exits(
    runtime: Runtime,
    name: str,
    graph: Graph,
    *,
    data: Data,
    target: Target | None,
    budget: Budget,
    energy: DeclaredEnergy | None = None,
) -> list[MeasuredExit]:
    """Accuracy, MACs and, given a target, latency and energy of every exit of one model."""
    exits = range(len(graph.exits))
    times = [
        measure_files(target, runtime.bundle, name, exit, seconds=SECONDS_PER_EXIT) if target else None
        for exit in exits
    ]
    val, test = (
        [float((logits.argmax(axis=1) == labels).mean()) for logits in _logits(runtime, name, images)]
        for images, labels in ((data.x_val, data.y_val), (data.x_test, data.y_test))
    )
    return [
        MeasuredExit(
            model=name,
            exit=exit,
            accuracy=val[exit],
            test_accuracy=test[exit],
            macs=_macs(graph, exit, all_heads=runtime.bundle.model(name).readout.needs_all_heads),
            latency=latency,
            **_energy(latency, energy),
            keeps_budget=keeps_limit(latency, latency_limit(budget, exit, len(times))) if latency else None,
        )
        for exit, latency in enumerate(times)
    ]


def _macs(graph: Graph, exit: int, *, all_heads: bool) -> int:
    """Of what an exit runs: its trunks and its head, or all heads up to it."""
    wanted = exit_segments(exit, range(exit) if all_heads else ())
    parts = (part for part in graph.segments() if part.name in wanted)
    return sum(graph.layers[position].macs for part in parts for position in part.nodes)


def _energy(latency: Latency | None, declared: DeclaredEnergy | None) -> dict[str, Any]:
    """Measured energy where the target has a meter, else what its user declares, if anything."""
    if latency is None or (latency.energy_mj is None and declared is None):
        return {}
    if latency.energy_mj is not None:
        return {"energy_mj": latency.energy_mj, "energy_source": "measured"}
    assert declared
    return {"energy_mj": declared(latency.p50_ms), "energy_source": f"declared: {declared}"}


def _logits(runtime: Runtime, name: str, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Logits (N, K) of each exit, all of which are levels in order; a trunk runs once for all of them."""
    first, *further = [i for i, level in enumerate(runtime.levels) if level.model == name]
    rows = []
    for start in range(0, len(images), _BATCH):
        progress = runtime.start(images[start : start + _BATCH], first)
        rows.append([progress.answer.logits, *(progress.resume(level).logits for level in further)])
    return [np.concatenate(exit_rows) for exit_rows in zip(*rows, strict=True)]


def _cost(level: Level) -> float:
    return level.macs if level.latency is None else level.latency.p50_ms
