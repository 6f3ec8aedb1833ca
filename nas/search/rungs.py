"""Short trainings first: networks are compared after few epochs, and only the best of them are trained on.

Asynchronous successive halving of several objectives (Schmucker et al., https://arxiv.org/abs/2106.12639):
who is best is told by non-dominated rank, and within a rank by how far apart networks are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from nas.errors import StudyError
from nas.pareto import non_dominated
from nas.search.objective import Objective, losses
from nas.search.trial import Trial

__all__ = ["Promotion", "Rungs"]


@final
class Promotion(NamedTuple):
    """A network that is to be trained on, as its last trial left it."""

    trial: Trial
    rung: int


@final
@dataclass(frozen=True)
class Rungs:
    """After how many epochs networks are compared, in rising order; the last is a full training."""

    epochs: tuple[int, ...]
    reduction: int = 3
    """Of so many networks at a rung one is trained on to the next."""

    def __post_init__(self) -> None:
        rising = all(one < other for one, other in zip(self.epochs, self.epochs[1:], strict=False))
        if len(self.epochs) < 2 or self.epochs[0] < 1 or not rising or self.reduction < 2:
            raise StudyError(
                "rungs must be at least two rising numbers of epochs and a reduction of 2 or more, "
                f"but got {self.epochs} and {self.reduction}; give such as (1, 3, 9) and 3"
            )

    @property
    def last(self) -> int:
        return len(self.epochs) - 1

    def share(self, rung: int | None) -> float:
        """The share of a full training that a rung has; 1 where there are no rungs."""
        return 1.0 if rung is None else self.epochs[rung] / self.epochs[-1]

    def promotion(
        self, trials: Sequence[Trial], objectives: Sequence[Objective], running: Set[tuple[str, int]]
    ) -> Promotion | None:
        """The network to be trained on next, if any is good enough; from the highest rung that has one.

        `running` are ids and rungs of networks being trained.
        """
        for rung in reversed(range(self.last)):
            there = [trial for trial in trials if trial.rung == rung and trial.state == "partial"]
            gone = {trial.architecture.id for trial in trials if trial.rung == rung + 1}
            gone |= {id for id, reached in running if reached == rung + 1}
            for trial in _best(there, objectives, len(there) // self.reduction):
                if trial.architecture.id not in gone:
                    return Promotion(trial, rung + 1)
        return None

    def to_json(self) -> dict[str, object]:
        return {"epochs": list(self.epochs), "reduction": self.reduction}

    @staticmethod
    def from_json(values: Mapping[str, Any] | None) -> Rungs | None:
        match values:
            case None:
                return None
            case {"epochs": [*epochs], "reduction": int(reduction)}:
                if all(type(epoch) is int for epoch in epochs):
                    return Rungs(tuple(map(int, epochs)), reduction)
        raise TypeError(f"rungs must be epochs and a reduction, but are {values!r}")


def _best(trials: Sequence[Trial], objectives: Sequence[Objective], count: int) -> list[Trial]:
    """The first by non-dominated rank; in a rank each is the one farthest from those before it."""
    points = np.array([losses(objectives, trial.values) for trial in trials])
    if not count:
        return []
    points = (points - points.min(0)) / np.maximum(points.max(0) - points.min(0), 1e-12)
    left, order = list(range(len(trials))), list[int]()
    while len(order) < count:
        front = [left[place] for place in non_dominated([tuple(points[each]) for each in left])]
        left = sorted(set(left) - set(front))
        while front and len(order) < count:
            chosen = points[order] if order else points.max(0, keepdims=True) + 1
            apart = [float(np.abs(chosen - points[each]).sum(1).min()) for each in front]
            order.append(front.pop(int(np.argmax(apart))))
    return [trials[place] for place in order]
