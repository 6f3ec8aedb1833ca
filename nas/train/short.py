"""A short training as a search's evaluation: cheap, and enough to tell better networks from worse ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from nas.data import Data
from nas.model import Model
from nas.space import Candidate
from nas.train.config import TrainConfig
from nas.train.fitting import fit

__all__ = ["SHORT_CONFIG", "ShortTraining"]

SHORT_CONFIG = TrainConfig(learning_rate=0.3)
"""Large steps, for there is little time."""


@final
@dataclass(frozen=True)
class ShortTraining:
    """Trains a candidate for a few epochs, drawing from its seed only.

    Gives the share of validation images it gets right: `accuracy` at the last exit, `accuracy@k` at exit k.
    `config` sets all but epochs and seed.
    """

    data: Data
    epochs: int = 3
    config: TrainConfig = SHORT_CONFIG

    def __call__(
        self, candidate: Candidate, *, epochs: int | None = None, checkpoint: Path | None = None
    ) -> dict[str, float]:
        """Train all epochs, or the first of them only, such that they continue from the checkpoint later."""
        config = replace(self.config, epochs=self.epochs, seed=candidate.seed)
        model = Model(candidate.graph, seed=candidate.seed)
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
        accuracies = fit(model, self.data, config, checkpoint=checkpoint, until=epochs).accuracies
        return {"accuracy": accuracies[-1]} | {
            f"accuracy@{exit}": value for exit, value in enumerate(accuracies)
        }
