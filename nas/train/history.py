"""What a training records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

__all__ = ["Epoch", "History"]


@final
@dataclass(frozen=True)
class Epoch:
    """One pass over the training images; epochs count from 0."""

    number: int
    loss: float
    """Mean over the steps."""
    accuracies: tuple[float, ...]
    """On the validation images after the epoch, at every exit."""


@final
@dataclass(frozen=True)
class History:
    """All epochs of a training."""

    epochs: tuple[Epoch, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Those of the last epoch, hence of the trained model."""
        return self.epochs[-1].accuracies

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> History:
        epochs = ({**epoch, "accuracies": tuple(epoch["accuracies"])} for epoch in values["epochs"])
        return History(tuple(Epoch(**epoch) for epoch in epochs))
