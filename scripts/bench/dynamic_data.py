"""The data sets of the benchmark, and the one recipe by which every system is trained on each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import final

from nas.budget import Budget
from nas.data import Data, load_data
from nas.train import TrainConfig

__all__ = ["CIFAR", "TASKS", "Task", "digest"]

CIFAR = "NAS_CIFAR10"
"""Variable that names an npz file of CIFAR-10."""


@final
@dataclass(frozen=True)
class Task:
    """A data set, its recipe, and between which costs its networks are sought."""

    name: str
    input_shape: tuple[int, int, int]
    recipe: TrainConfig
    times: str
    """Range of `nas.search.CostRange` over which exits are compared in the search: from before MSDNet's
    first exit to two thirds of its last."""
    budget: str
    """Of the networks with exits: no more MACs than MSDNet has. Networks of one budget keep what it says of
    the last exit."""
    trials: int = 20
    """Short trainings of the search for networks with exits; that for one budget has twice as many."""
    short_epochs: int = 3
    """Of each of them: after one, small networks are still as good as large ones."""
    seeds: int = 3
    calibration_s: int = 60
    num_classes: int = 10

    @property
    def data(self) -> Data:
        return _data(self.name)

    @property
    def last_budget(self) -> str:
        """What the budget says of the last exit."""
        limits = Budget.parse(self.budget).limits
        return str(Budget(tuple(limit for limit in limits if limit.exit is None)))


def digest(told: object) -> str:
    """What tells settings, as JSON, from others."""
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


@cache
def _data(name: str) -> Data:
    return load_data(f"npz:{os.environ[CIFAR]}" if name == "cifar10" else "fashion-mnist")


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            Task(
                "fashion",
                (1, 28, 28),
                TrainConfig(epochs=5, augment="none"),
                times="latency 100us..200us",
                budget="latency@0<=100us, latency<=200us, macs<=5400K",
            ),
            Task(
                "quick",
                (1, 28, 28),
                TrainConfig(epochs=1, augment="none", images=320),
                times="latency 30us..200us",
                budget="latency@0<=60us, latency<=200us",
                trials=2,
                short_epochs=1,
                seeds=1,
                calibration_s=8,
            ),
            Task(
                "cifar10",
                (3, 32, 32),
                TrainConfig(epochs=10),  # with shift and flip, as MSDNet's own recipe
                times="latency 120us..240us",
                budget="latency@0<=120us, latency<=240us, macs<=6600K",
                short_epochs=5,
            ),
        )
    }
)
