"""What a bundle answers: logits, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Readout

__all__ = ["Prediction"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a level says about a batch; a single image is a batch of one."""

    logits: NDArray[np.float32]  # (N, K)
    confidence: NDArray[np.float32]  # (N,)
    """How sure each answer is, 0 to 1, by the measure of the model's read-out."""
    exits: NDArray[np.int64]  # (N,)
    """The exit that answered."""
    model: str
    level: int | None
    """The number of the level, None for one that is not of the bundle."""
    class_names: tuple[str, ...]
    readout: Readout

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Softmax of the logits, (N, K), as sure as validation images showed the exit to be."""
        logits = self.logits
        if self.readout.combine != "mean" and self.readout.temperatures:
            logits = logits / np.array(self.readout.temperatures, np.float32)[self.exits, None]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    @property
    def labels(self) -> NDArray[np.int64]:
        """Number of the most probable class, (N,)."""
        labels: NDArray[np.int64] = self.logits.argmax(axis=1)
        return labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of the most probable class of each image."""
        return tuple(self.class_names[label] for label in self.labels)
