"""The networks of the runtime's benchmarks: ten of `mixed` from small to large, and the official MSDNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import numpy as np

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.cost import Cost
from nas.export.entries import model_entry
from nas.graph import Graph
from nas.model import Model
from nas.train import predict
from search_spaces.mixed import space
from search_spaces.msdnet import msdnet_cifar10
from search_spaces.msdnet import space as msdnet

__all__ = ["CLASSES", "MIXED", "SHAPE", "bundle_of", "mixed_networks", "msdnet_graph", "trained_like"]

SHAPE, CLASSES = (3, 32, 32), 10
MIXED = 10
_SAMPLED = 400
_LEAST_EXITS = 3
_LOGITS = 3.0  # standard deviation, as of a trained network


def mixed_networks(count: int = MIXED) -> dict[str, Graph]:
    """Networks with three exits or more, equally far apart in the order of their MACs among random ones."""
    rng, graphs = Random(0), dict[str, Graph]()
    while len(graphs) < _SAMPLED:
        graph = space.graph(space.sample(rng))
        if len(graph.exits) >= _LEAST_EXITS:
            graphs[graph.id] = graph
    ordered = sorted(graphs.values(), key=lambda graph: Cost.of(graph).macs)
    places = np.linspace(0, len(ordered) - 1, count + 2).round().astype(int)[1:-1]
    return {f"mixed{number}": ordered[place] for number, place in enumerate(places)}


def msdnet_graph() -> Graph:
    """MSDNet by the anytime recipe for CIFAR-10, 7 exits."""
    return msdnet.graph(msdnet_cifar10)


def trained_like(graph: Graph, seed: int = 0) -> Model:
    """Random weights at which confidences spread between 0 and 1, as those of trained networks do."""
    model = Model(graph, seed)
    rng = np.random.default_rng(seed)
    weights = dict(model.weights())
    for name, value in weights.items():
        if name.endswith("running_mean"):
            weights[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        elif name.endswith("running_var"):
            weights[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    model.set_weights(weights)
    model.set_normalization([127.5] * graph.input_shape[0], [64.0] * graph.input_shape[0])
    images = rng.integers(0, 256, (64, *graph.input_shape), np.uint8)
    for position, logits in zip(graph.exits, predict(model, images, 64), strict=True):
        for name in ("weight", "bias"):
            weights[f"{graph.nodes[position].name}.{name}"] *= _LOGITS / logits.std()
    model.set_weights(weights)
    return model


def bundle_of(folder: Path, models: Mapping[str, Model]) -> Bundle:
    """A bundle of these networks of which every exit is a level."""
    entries = [model_entry(name, model, Readout()) for name, model in models.items()]
    files = {file: content for entry in entries for file, content in entry.files.items()}
    levels = [
        Level(model=name, exit=exit, accuracy=0, macs=Cost.of(model.graph, exit).macs)
        for name, model in models.items()
        for exit in range(len(model.graph.exits))
    ]
    return write_bundle(
        folder,
        Bundle(
            input_shape=SHAPE,
            classes=tuple(map(str, range(CLASSES))),
            models=tuple(entry.model for entry in entries),
            levels=tuple(sorted(levels, key=lambda level: level.macs)),
        ),
        files,
    )
