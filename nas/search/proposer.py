"""What a proposer of networks is, and what it may draw on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple, final

from nas.budget import Budget
from nas.errors import SpaceError
from nas.pareto import non_dominated
from nas.search.judge import FAILURES, Judge, Verdict
from nas.search.objective import Objective, losses
from nas.search.trial import Trial
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["History", "Known", "Partial", "Problem", "Proposer"]

_MOST_VERDICTS = 20_000  # that are remembered


@final
class Known(NamedTuple):
    """A network whose costs are known, before it is trained."""

    architecture: Architecture
    verdict: Verdict

    @property
    def fits(self) -> bool:
        return not self.verdict.violated

    @property
    def values(self) -> Mapping[str, float]:
        """Costs by key."""
        return self.verdict.values


@final
@dataclass(frozen=True)
class Problem:
    """What a search is after: the best networks of a space, within a budget, for its objectives."""

    space: SearchSpace
    judge: Judge
    objectives: tuple[Objective, ...]
    budget: Budget
    _verdicts: dict[str, Verdict] = field(default_factory=dict, init=False, repr=False, compare=False)
    """By id: candidates are drawn again and again, around the same few networks."""

    @property
    def learned(self) -> tuple[Objective, ...]:
        """The objectives that only an evaluation tells."""
        return tuple(each for each in self.objectives if not self.judge.knows(each.metric))

    @property
    def known(self) -> tuple[Objective, ...]:
        """The objectives that are known of a network before it is evaluated."""
        return tuple(each for each in self.objectives if self.judge.knows(each.metric))

    def assess(self, architecture: Architecture) -> Known | None:
        """The network with its costs, predicted where they could be measured; None where they fail."""
        verdict = self._verdicts.get(architecture.id)
        if verdict is None:
            try:
                verdict = self.judge(Candidate(self.space, architecture), measuring=False)
            except (*FAILURES, SpaceError):
                return None
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            self._verdicts[architecture.id] = verdict
        return Known(architecture, verdict)

    def losses(self, trial: Trial) -> tuple[float, ...]:
        """The objectives of a complete trial, each turned so that smaller is better."""
        return losses(self.objectives, trial.values)


@final
class Partial(NamedTuple):
    """What a network reached in a share of a full training."""

    trial: Trial
    share: float


@final
@dataclass(frozen=True)
class History:
    """What a search has done so far."""

    complete: Sequence[Trial]
    """Evaluated."""
    running: Sequence[Known]
    """Being evaluated by other workers."""
    seen: Set[str]
    """Ids that must not be proposed again: of all networks proposed."""
    reached: Architecture | None = None
    """A network that fits the budget, if one is known."""
    partial: Sequence[Partial] = ()
    """Results of short trainings, in a search with rungs; those of complete networks too."""
    failed: int = 0
    """Networks whose evaluation failed."""

    @property
    def begun(self) -> int:
        """Networks of which an evaluation has begun."""
        trained = {trial.architecture.id for trial in self.complete}
        trained |= {partial.trial.architecture.id for partial in self.partial}
        return self.failed + len(trained | {known.architecture.id for known in self.running})

    @property
    def unfinished(self) -> list[Trial]:
        """The last result of each network that was trained in part only."""
        last = {partial.trial.architecture.id: partial.trial for partial in self.partial}
        done = {trial.architecture.id for trial in self.complete}
        return [trial for id, trial in last.items() if id not in done]

    def best(self, problem: Problem, count: int) -> list[Trial]:
        """The front, and the fronts that lie behind it until there are `count` trials or no others."""
        left, found = [*self.complete, *self.unfinished], list[Trial]()
        while left and len(found) < count:
            kept = set(non_dominated([problem.losses(trial) for trial in left]))
            found += [trial for place, trial in enumerate(left) if place in kept]
            left = [trial for place, trial in enumerate(left) if place not in kept]
        return found


class Proposer(ABC):
    """Proposes networks that are new and fit the budget.

    A proposal may depend on the problem, the history and the numbers drawn only, so that an interrupted
    search goes on as if it had not been.
    """

    @abstractmethod
    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        """The network to be evaluated next; None where no other is found."""
