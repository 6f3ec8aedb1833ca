"""A proposer that begins at networks its user knows to be good."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import final

from nas.errors import SpaceError
from nas.search.known_cost import KnownCost
from nas.search.proposer import History, Problem, Proposer
from nas.space import Architecture

__all__ = ["WarmStart"]


@final
@dataclass(frozen=True)
class WarmStart(Proposer):
    """Proposes given networks first, in their order, then what another proposer makes of their results.

    They may come from a search under another budget, or be made of another space's networks by
    `SearchSpace.architecture`. Those beyond the budget are passed over. `SpaceError` for one of another space
    or input.
    """

    starts: tuple[Architecture, ...]
    then: Proposer = field(default_factory=KnownCost)

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        for start in self.starts:
            _check(start, problem)
        for start in self.starts:
            if start.id in history.seen:
                continue
            known = problem.assess(start)
            if known is not None and known.fits:
                return start
        return self.then.propose(problem, history, rng)


def _check(start: Architecture, problem: Problem) -> None:
    space = problem.space
    wanted = (space.name, space.input_shape, space.num_classes)
    if (start.space, start.input_shape, start.num_classes) != wanted:
        raise SpaceError(
            f"a search must start from networks of {space.name} at {space.input_shape} with "
            f"{space.num_classes} classes, but got one of {start.space} at {start.input_shape} with "
            f"{start.num_classes}; make them with its architecture()"
        )
