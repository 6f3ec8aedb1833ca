"""What a search leaves behind: a `Trial` for each proposal, and the `Front` of those that no other beats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

from nas.errors import StudyError
from nas.pareto import non_dominated
from nas.search.objective import Minimize, Objective, losses
from nas.space import Architecture

__all__ = ["Front", "State", "Trial"]

State = Literal["complete", "partial", "infeasible", "failed", "repeat"]


@final
@dataclass(frozen=True)
class Trial:
    """One proposal of a search and what became of it.

    `complete`: evaluated. `partial`: trained for a part of the epochs, in a search with rungs. `failed`: its
    measurement or evaluation went wrong. `infeasible`: outside the budget, hence not evaluated. `repeat`: the
    network of an earlier trial, hence not evaluated again.
    """

    number: int
    architecture: Architecture
    """Its id is empty where the choices do not build a network."""
    state: State
    values: Mapping[str, float] = field(hash=False)
    """Costs and metrics by key, as far as they were asked."""
    reason: str = ""
    """Why the trial is not complete."""
    violated: tuple[str, ...] = ()
    """Keys of the limits that do not hold; `shape` where the choices do not build a network."""
    seconds: float = 0.0
    """Time that the evaluation took."""
    measured: tuple[str, ...] = ()
    """Keys of the costs that were measured, not predicted."""
    rung: int | None = None
    """Up to which rung it was trained, from 0; None in a search without rungs."""
    draw: int = -1
    """Which proposal of the search it was, from 0; its number, unless several workers search."""

    def __post_init__(self) -> None:
        if self.draw < 0:
            object.__setattr__(self, "draw", self.number)

    @property
    def evaluated(self) -> bool:
        """Whether an evaluation was spent on it, in vain or not."""
        return self.state in ("complete", "partial", "failed")

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "architecture": self.architecture.to_json(),
            "state": self.state,
            "values": dict(self.values),
            "reason": self.reason,
            "violated": list(self.violated),
            "seconds": self.seconds,
            "measured": list(self.measured),
            "rung": self.rung,
            "draw": self.draw,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Trial:
        try:
            return Trial(
                number=values["number"],
                architecture=Architecture.from_json(values["architecture"]),
                state=values["state"],
                values=values["values"],
                reason=values["reason"],
                violated=tuple(values["violated"]),
                seconds=values["seconds"],
                measured=tuple(values["measured"]),
                rung=values.get("rung"),
                draw=values.get("draw", values["number"]),
            )
        except (KeyError, TypeError) as error:
            raise StudyError(
                f"a trial must have number, architecture, state, values, …, but it lacks: {error!r}; "
                "restore the journal from a copy"
            ) from None


@final
@dataclass(frozen=True)
class Front:
    """The evaluated networks within the budget that no other beats in every objective, cheapest first."""

    objectives: tuple[Objective, ...]
    trials: tuple[Trial, ...]

    @staticmethod
    def of(trials: Sequence[Trial], objectives: tuple[Objective, ...]) -> Front:
        """The front of all complete trials, in order of the first objective to be minimized."""
        complete = [trial for trial in trials if trial.state == "complete"]
        points = [losses(objectives, trial.values) for trial in complete]
        first = next((i for i, objective in enumerate(objectives) if isinstance(objective, Minimize)), 0)
        best = sorted(non_dominated(points), key=lambda position: points[position][first])
        return Front(objectives, tuple(complete[position] for position in best))

    def to_json(self) -> dict[str, Any]:
        return {
            "objectives": [objective.to_json() for objective in self.objectives],
            "trials": [trial.to_json() for trial in self.trials],
        }

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def __len__(self) -> int:
        return len(self.trials)
