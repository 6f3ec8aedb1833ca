"""What each system takes on this machine, measured last, while nothing else runs.

Every exit stands as one graph of its own, so that no system pays for how many exits it has, and as the chain
of segments that ships.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from dynamic_data import Task, digest
from dynamic_systems import OPTIONS, Training
from dynamic_train import graph_of
from record import Record

from nas.bundle import IMAGE
from nas.cost import Cost
from nas.latency import LocalTarget, Target, measure_exit
from nas.model import Model
from nas.onnx import onnx_model

__all__ = ["FILE", "PASSES", "collect", "is_timed", "machine_id"]

FILE = "times.csv"
SECONDS, QUICK_S = 2.0, 0.2  # of each exit and form
PASSES = 3  # over all systems, so that a slow phase of the machine meets none of them alone


def collect(record: Record, task: Task, trainings: Iterable[Training], *, passes: int) -> None:
    """One row per system, exit and pass; with untrained weights, on which time does not depend."""
    done = {(row["task"], row["system"], row["pass"]) for row in record.rows(FILE)}
    target = LocalTarget()
    first = [each for each in trainings if is_timed(each)]
    for number in range(passes):
        for training in first:
            if (task.name, training.system, str(number)) not in done:
                model = Model(graph_of(training))
                rows = _rows(target, model, QUICK_S if record.quick else SECONDS)
                named = {"task": task.name, "system": training.system, "seed": 0, "pass": number}
                named |= {"network": training.key, "machine": machine_id()}
                record.add(FILE, *({**named, **row} for row in rows))


def is_timed(training: Training) -> bool:
    """Whether it is: of graphs that are equal one."""
    return training.seed == 0 and training.system not in OPTIONS


def machine_id() -> str:
    """What tells this machine, since it was started, from others: times of two are never compared."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return digest([platform.node(), boot.read_text() if boot.exists() else None])


def _rows(target: Target, model: Model, seconds: float) -> list[dict[str, object]]:
    """Of all exits at once, so that a system is measured whole or not at all."""
    graph, weights = model.graph, model.weights()
    image = np.random.default_rng(0).integers(0, 256, (1, *graph.input_shape), np.uint8)
    rows = []
    for exit in range(len(graph.exits)):
        alone = target.measure(onnx_model(graph, weights, exit=exit), {IMAGE: image}, seconds=seconds)
        staged = measure_exit(target, graph, exit, weights, seconds=seconds)
        rows.append(
            {
                "exit": exit,
                "macs": Cost.of(graph, exit).macs,
                "ms": round(alone.p50_ms, 5),
                "high_ms": None if alone.high_ms is None else round(alone.high_ms, 5),
                "staged_ms": round(staged.p50_ms, 5),
            }
        )
    return rows
