"""The data sets of the benchmark, and the one recipe by which every system is trained on each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import final

from nas.data import Data, load_data
from nas.train import TrainConfig

__all__ = ["CIFAR", "TASKS", "Task"]

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
    """Range of `nas.search.CostRange` over which exits are compared in the search: from before MSDNet's first
    exit to half of its last."""
    budget: str
    """Of the networks with exits."""
    bound: str
    """Of the networks without, which is the last exit's."""
    trials: int = 24
    """Short trainings of each search."""
    short_epochs: int = 3
    """Of each of them: after one, small networks are still as good as large ones."""
    seeds: int = 3
    calibration_s: int = 60
    num_classes: int = 10

    @property
    def data(self) -> Data:
        return _data(self.name)


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
                times="latency 100us..160us",
                budget="latency@0<=100us, latency<=160us, macs<=7M",
                bound="latency<=160us, macs<=5400K",
            ),
            Task(
                "quick",
                (1, 28, 28),
                TrainConfig(epochs=1, augment="none", images=320),
                times="latency 30us..200us",
                budget="latency@0<=60us, latency<=200us",
                bound="latency<=200us",
                trials=2,
                short_epochs=1,
                seeds=1,
                calibration_s=8,
            ),
            Task(
                "cifar10",
                (3, 32, 32),
                TrainConfig(epochs=10),
                times="latency 120us..190us",
                budget="latency@0<=120us, latency<=190us, macs<=8M",
                bound="latency<=190us, macs<=8M",
                short_epochs=5,
            ),
        )
    }
)
