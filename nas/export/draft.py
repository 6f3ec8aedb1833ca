"""The networks of a bundle before it is known what they are worth: written, checked and measured."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.budget import Budget
from nas.bundle import Bundle, Level, Readout
from nas.cascade import with_temperatures
from nas.data import Data
from nas.export.cascades import cascade_levels
from nas.export.config import ExportConfig
from nas.export.entries import Entry, model_entry, quantized_entry
from nas.export.measuring import Answers, Conditions, MeasuredLevel, measured_exits
from nas.export.parity import check_fused, check_parity
from nas.graph import Graph
from nas.latency import DeclaredEnergy, Target
from nas.model import Model
from nas.runtime import Runtime
from nas.space import Architecture
from nas.train import predict

__all__ = ["Draft"]

_BATCH = 256
_PARITY_IMAGES = 512


@final
class Draft:
    """The networks on their way into a bundle, in fp32 and where it is wanted in int8."""

    def __init__(
        self,
        models: Mapping[str, Model],
        data: Data,
        *,
        config: ExportConfig,
        architectures: Mapping[str, Architecture],
        tell: Callable[[str], None],
    ) -> None:
        self._data, self._tell, self._config = data, tell, config
        self._graphs: dict[str, Graph] = {}
        self._heads: dict[str, list[NDArray[np.float32]]] = {}
        self._entries: dict[str, Entry] = {}
        self.sources: dict[str, str] = {}
        """For each network in int8 the name of the one that it was made of."""
        for name, model in sorted(models.items()):
            tell(f"writing {name}")
            heads = predict(model, data.x_val, _BATCH)
            readout = with_temperatures(config.readouts.get(name, Readout()), heads, data.y_val)
            entry = model_entry(
                name, model, readout, architecture=architectures.get(name), fused=config.fused
            )
            self._heads[name] = [logits[:_PARITY_IMAGES] for logits in heads]
            self._add(entry, model)
            if config.int8:
                quantized = quantized_entry(entry, model, data.x_train)
                self.sources[quantized.model.name] = name
                self._add(quantized, model)

    def _add(self, entry: Entry, model: Model) -> None:
        self._entries[entry.model.name], self._graphs[entry.model.name] = entry, model.graph

    @property
    def files(self) -> dict[str, bytes]:
        return self.files_of(self._entries.keys())

    def files_of(self, names: Collection[str]) -> dict[str, bytes]:
        entries = (entry for name, entry in self._entries.items() if name in names)
        return {file: content for entry in entries for file, content in entry.files.items()}

    def bundle(self) -> Bundle:
        """A bundle of which every exit is a level, of unknown worth."""
        models = tuple(entry.model for entry in self._entries.values())
        channels, height, width = self._data.input_shape
        return Bundle(
            input_shape=(channels, height, width),
            classes=self._data.classes,
            models=models,
            levels=tuple(
                Level(model=model.name, exit=exit, accuracy=0, macs=0)
                for model in models
                for exit in range(model.exits)
            ),
        )

    def check(self, runtime: Runtime) -> None:
        images = self._data.x_val[:_PARITY_IMAGES]
        for name, entry in self._entries.items():
            self._tell(f"checking {name}")
            if name in self._heads:
                check_parity(runtime, entry.model, self._heads[name], images)
            if entry.model.fused:
                check_fused(runtime, entry.model, images)

    def measured(
        self, runtime: Runtime, *, target: Target | None, budget: Budget, energy: DeclaredEnergy | None
    ) -> list[MeasuredLevel]:
        conditions, found = Conditions(self._data, target, budget, energy), list[MeasuredLevel]()
        for name, graph in self._graphs.items():
            self._tell(f"measuring {name}")
            answers = Answers.of(runtime, name, self._data, self._config.class_shares)
            exits = measured_exits(runtime, name, graph, answers=answers, conditions=conditions)
            found += exits
            if self._config.has_cascades and len(exits) > 1:
                self._tell(f"solving thresholds of {name}")
                found += cascade_levels(
                    runtime, graph, exits, answers=answers, conditions=conditions, config=self._config
                )
        return found
