"""What a search makes as large or as small as it can."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from nas.errors import StudyError

__all__ = ["Maximize", "Minimize", "Objective", "losses", "objective_from_json"]


class Objective(ABC):
    """A metric and the direction in which it is better. `metric@k` is the metric at exit k."""

    metric: str

    @property
    @abstractmethod
    def direction(self) -> Literal["maximize", "minimize"]:
        """The direction as Optuna and JSON name it."""

    @abstractmethod
    def loss(self, value: float) -> float:
        """The metric's value turned so that smaller is better."""

    def to_json(self) -> dict[str, str]:
        return {self.direction: self.metric}


@final
@dataclass(frozen=True)
class Maximize(Objective):
    """Larger values of the metric are better."""

    metric: str

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize"

    def loss(self, value: float) -> float:
        return -value


@final
@dataclass(frozen=True)
class Minimize(Objective):
    """Smaller values of the metric are better."""

    metric: str

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "minimize"

    def loss(self, value: float) -> float:
        return value


def losses(objectives: Sequence[Objective], values: Mapping[str, float]) -> tuple[float, ...]:
    """The values of the objectives, each turned so that smaller is better."""
    return tuple(each.loss(values[each.metric]) for each in objectives)


def objective_from_json(values: Mapping[str, Any]) -> Objective:
    """Read what `to_json` wrote.

    >>> objective_from_json({"maximize": "accuracy"})
    Maximize(metric='accuracy')
    """
    match dict(values):
        case {"maximize": str(metric)}:
            return Maximize(metric)
        case {"minimize": str(metric)}:
            return Minimize(metric)
    raise StudyError(
        f"an objective must read like {{'maximize': 'accuracy'}}, but got {values!r}; "
        "give direction and metric"
    )
