"""What a study asks next: proposals of its sampler, and networks reached by descents where those run dry."""

from __future__ import annotations

from collections.abc import Sequence, Set
from random import Random
from typing import NamedTuple, final

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.choices import Option
from nas.errors import SpaceError
from nas.search.engine import Books, Engine, Form
from nas.search.proposer import History, Known, Partial, Problem, Proposer
from nas.search.record import Settings
from nas.search.repair import Walk
from nas.search.sampler import make_sampler
from nas.search.tally import Tally
from nas.search.trial import Trial
from nas.space import Architecture, Candidate

__all__ = ["Drawn", "Proposals"]

_PATIENCE = 8  # proposals of a sampler in a row that come to nothing before others are tried
_HOPELESS = 256  # proposals in a row that come to nothing before the search ends


@final
class Drawn(NamedTuple):
    """A proposal: a candidate, or choices that do not build a network and why."""

    draw: int
    """Which proposal it is, from 0."""
    architecture: Architecture
    candidate: Candidate | None
    error: SpaceError | None
    books: Books


@final
class Proposals:
    """The proposals of a study, each drawn from the seed, its place among them, and what is stored before."""

    def __init__(
        self,
        problem: Problem,
        sampler: str | Proposer | BaseSampler,
        settings: Settings,
    ) -> None:
        self.problem = problem
        self._sampler = sampler
        self._seed = settings.seed
        self._rungs = settings.rungs
        own = isinstance(make_sampler(sampler, 0), Proposer)
        self.form = Form(problem.space, [objective.metric for objective in problem.objectives])
        self._engine: Engine | None = None
        self._is_own = own
        self._reached: Architecture | None = None

    def begin(self) -> None:
        """Forget all trials: those stored are to be learned anew."""
        self._engine = None if self._is_own else Engine(self.form, self.problem.objectives)

    def reach(self) -> None:
        """Make sure that some network fits the budget; an error where none is found."""
        walk = Walk(self.problem.space, self.problem.judge, self.random("reach"))
        self._reached = walk.find()
        if self._reached is None:
            raise walk.error(self.problem.budget)

    def random(self, purpose: str) -> Random:
        """Numbers that are the same for the same seed and purpose."""
        return Random(f"{self._seed} {purpose}")

    def seed_of(self, draw: int) -> int:
        """What the training of a proposal draws from."""
        return self.random(f"evaluation {draw}").getrandbits(32)

    def learn(self, trial: Trial, done: FrozenTrial) -> None:
        """Take in a stored trial."""
        self.form.learn(done.distributions)
        if self._engine is not None:
            self._engine.learn(trial.draw, done)

    def draw(self, draw: int, tally: Tally, running: Sequence[Known]) -> Drawn | None:
        """The proposal of this number; None where no other network within the budget is found."""
        if tally.idle >= _HOPELESS:
            return None
        others = {known.architecture.id for known in running}
        seen = tally.first.keys() | others if others else tally.first.keys()  # not copied needlessly
        sampler = make_sampler(self._sampler, self.random(f"proposal {draw}").getrandbits(32))
        proposal = self._reached if draw == 0 else None
        if isinstance(sampler, Proposer):
            short = [Partial(trial, self._share(trial)) for trial in tally.partial]
            reached = None if tally.evaluated else self._reached  # not searched for again after a restart
            history = History(tally.complete, running, seen, reached, short, tally.failed)
            proposal = sampler.propose(self.problem, history, self.random(f"proposal {draw}"))
        if (isinstance(sampler, Proposer) and proposal is None) or tally.idle >= _PATIENCE:
            proposal = self._new_feasible(draw, tally, seen)
            if proposal is None:
                return None
        if isinstance(sampler, Proposer):
            assert proposal is not None, "what is not proposed was found by a walk, or nothing was"
            candidate = Candidate(self.problem.space, proposal, seed=self.seed_of(draw))
            return Drawn(draw, proposal, candidate, None, {})
        return self._asked(draw, sampler, proposal)

    def _share(self, trial: Trial) -> float:
        return 1.0 if self._rungs is None else self._rungs.share(trial.rung)

    def _asked(self, draw: int, sampler: BaseSampler, proposal: Architecture | None) -> Drawn:
        assert self._engine is not None, "there is an engine for samplers of Optuna"
        space, choices = self.problem.space, dict[str, Option]()
        answer = self._engine.ask(draw, sampler, proposal)
        try:
            candidate = space.candidate(lambda name, options: choices.setdefault(name, answer(name, options)))
        except SpaceError as error:
            shape, classes = space.input_shape, space.num_classes
            unbuilt = Architecture(space.name, tuple(choices.items()), shape, classes, id="")
            return Drawn(draw, unbuilt, None, error, self._engine.books(draw))
        candidate.seed = self.seed_of(draw)
        return Drawn(draw, candidate.architecture, candidate, None, self._engine.books(draw))

    def _new_feasible(self, draw: int, tally: Tally, seen: Set[str]) -> Architecture | None:
        """A network within the budget that no trial had, near the best so far; None where none is found."""
        best = History(tally.complete, (), frozenset()).best(self.problem, 1)
        starts = [trial.architecture for trial in best or [each for each in tally.trials if each.evaluated]]
        if not starts and self._reached:
            starts = [self._reached]
        return Walk(self.problem.space, self.problem.judge, self.random(f"walk {draw}")).find(seen, starts)
