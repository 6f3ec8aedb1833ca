"""What the exits of exported networks are worth: logits, accuracy and time in the runtime that ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

from nas.budget import Budget
from nas.bundle import Latency, Level
from nas.cascade import CascadeCost, image_weights, weighted_share
from nas.data import Data
from nas.graph import Graph
from nas.latency import DeclaredEnergy, Target
from nas.latency.verification import keeps_limit, latency_limit
from nas.latency.ways import measure_files
from nas.runtime import Prediction, Runtime, exit_predictions

__all__ = [
    "SECONDS_PER_EXIT",
    "Answers",
    "Conditions",
    "MeasuredLevel",
    "declared_energy",
    "dial_levels",
    "kept_precisions",
    "measured_exits",
]

SECONDS_PER_EXIT = 2.0  # at most; a measurement ends as soon as its result is narrow


@final
@dataclass(frozen=True)
class MeasuredLevel:
    """What may become a level. Its accuracy, on validation images, may choose it; that on test may not."""

    level: Level
    test_accuracy: float

    def to_json(self) -> dict[str, Any]:
        return self.level.to_json() | {"test_accuracy": self.test_accuracy}


def kept_precisions(
    found: Sequence[MeasuredLevel], sources: Mapping[str, str]
) -> tuple[list[MeasuredLevel], list[dict[str, Any]]]:
    """What is left without the networks whose int8 is not faster at the last exit, and what decided.

    `sources` names for each network in int8 the one that it was made of.
    """
    plain = [each.level for each in found if each.level.thresholds is None]
    last = {level.model: level for level in plain}  # the last exit of each stands last
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
    return [each for each in found if each.level.model not in dropped], comparison


def dial_levels(found: Sequence[MeasuredLevel]) -> tuple[Level, ...]:
    """The levels to choose from, fastest first: those than which no faster of the same model is better.

    Those of other models do not count, because going on to the next exit of one model costs least: that is
    for the policy to weigh, see `nas.bundle.undominated`. Without times, MACs stand in.
    """
    best: dict[str, float] = {}
    levels = []
    for level in sorted((each.level for each in found), key=lambda level: (_cost(level), -level.accuracy)):
        if level.accuracy >= best.get(level.model, 0.0):
            best[level.model] = level.accuracy
            levels.append(level)
    return tuple(levels)


@final
class Conditions(NamedTuple):
    """What levels are measured on, and held against."""

    data: Data
    target: Target | None
    budget: Budget
    energy: DeclaredEnergy | None


@final
class Answers(NamedTuple):
    """What every exit of an exported network answers, all heads before it asked, and how often right."""

    val: tuple[Prediction, ...]
    test: tuple[Prediction, ...]
    val_accuracies: tuple[float, ...]
    test_accuracies: tuple[float, ...]

    @staticmethod
    def of(runtime: Runtime, name: str, data: Data, class_shares: Sequence[float] | None = None) -> Answers:
        """Where the device sees other shares of the classes, images count as they do there."""
        parts = {"validation": (data.x_val, data.y_val), "test": (data.x_test, data.y_test)}
        found, accuracies = list[tuple[Prediction, ...]](), list[tuple[float, ...]]()
        for part, (images, labels) in parts.items():
            answers = exit_predictions(runtime, name, images)
            weights = image_weights(labels, data.num_classes, class_shares, name=part)
            found.append(answers)
            accuracies.append(tuple(weighted_share(weights, each.labels == labels) for each in answers))
        return Answers(found[0], found[1], accuracies[0], accuracies[1])


def measured_exits(
    runtime: Runtime,
    name: str,
    graph: Graph,
    *,
    answers: Answers,
    conditions: Conditions,
) -> list[MeasuredLevel]:
    """Every exit of one model: accuracy, MACs and, given a target, latency and energy."""
    exits, target = range(len(graph.exits)), conditions.target
    all_heads = runtime.bundle.model(name).readout.needs_all_heads
    macs = CascadeCost.of_graph(graph).leaving([all_heads] * exits[-1])
    found = []
    for exit in exits:
        latency = (
            measure_files(target, runtime.bundle, name, exit, seconds=SECONDS_PER_EXIT) if target else None
        )
        level = Level(
            model=name,
            exit=exit,
            accuracy=answers.val_accuracies[exit],
            macs=round(macs[exit]),
            latency=latency,
            **declared_energy(latency, conditions.energy),
            keeps_budget=keeps_limit(latency, latency_limit(conditions.budget, exit, len(exits)))
            if latency
            else None,
        )
        found.append(MeasuredLevel(level, answers.test_accuracies[exit]))
    return found


def declared_energy(latency: Latency | None, declared: DeclaredEnergy | None) -> dict[str, Any]:
    """Measured energy where the target has a meter, else what its user declares, if anything."""
    if latency is None or (latency.energy_mj is None and declared is None):
        return {}
    if latency.energy_mj is not None:
        return {"energy_mj": latency.energy_mj, "energy_source": "measured"}
    assert declared
    return {"energy_mj": declared(latency.p50_ms), "energy_source": f"declared: {declared}"}


def _cost(level: Level) -> float:
    return level.macs if level.latency is None else level.latency.p50_ms
