"""Trains every network of the space `twins` on digits, so that searches in it can be repeated in seconds."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from statistics import mean

import numpy as np
import torch
from record import Record
from twins import code, space

from nas import Architecture, Candidate
from nas.cost import Cost
from nas.data import Data, load_data
from nas.train import ShortTraining, TrainConfig

__all__ = ["FILE", "collect"]

FILE = "twins.csv"


def collect(record: Record, *, epochs: int = 5, seeds: int = 2, images: int | None = None) -> None:
    """One row per network: its error in percent on 719 images it was not trained on, mean of the seeds."""
    known = {row["network"] for row in record.rows(FILE)}
    distinct = {code(architecture): architecture for architecture in space.architectures()}
    left = [architecture for name, architecture in sorted(distinct.items()) if name not in known]
    if not left:
        return
    with ProcessPoolExecutor(os.cpu_count(), initializer=_prepare) as pool:
        for done in as_completed([pool.submit(_train, each, epochs, seeds, images) for each in left]):
            record.add(FILE, done.result())


def _prepare() -> None:
    torch.set_num_threads(1)


def _train(architecture: Architecture, epochs: int, seeds: int, images: int | None) -> dict[str, object]:
    data, graph = _digits(), space.graph(architecture)
    errors = []
    for seed in range(seeds):
        training = ShortTraining(data, epochs, TrainConfig(learning_rate=0.1, images=images))
        errors.append(100 - 100 * training(Candidate(space, architecture, seed=seed))["accuracy"])
    cost = Cost.of(graph)
    return {"network": code(architecture), "macs": cost.macs, "params": cost.params, "error": mean(errors)}


def _digits() -> Data:
    """Digits, of which the validation and the test part both judge."""
    data = load_data("digits")
    x, y = np.concatenate([data.x_val, data.x_test]), np.concatenate([data.y_val, data.y_test])
    return replace(data, x_val=x, y_val=y)
