"""This project's proposers in a study of Optuna that anybody has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from threading import Lock
from typing import Any, NamedTuple, final

import optuna
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.budget import Budget
from nas.choices import Option, answers_from
from nas.errors import SpaceError, StudyError
from nas.search.engine import Form
from nas.search.judge import CostFunction, Judge
from nas.search.objective import Objective
from nas.search.proposer import History, Known, Problem, Proposer
from nas.search.repair import Walk
from nas.search.sampler import make_sampler
from nas.search.trial import Trial
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["SpaceSampler"]


_Key = tuple[str, int]  # name of the study, number of the trial


@final
class _Proposal(NamedTuple):
    """What a trial is to answer; nothing where no network was found."""

    architecture: Architecture | None
    choices: Mapping[str, Option]


@final
class SpaceSampler(BaseSampler):
    """A sampler of Optuna that knows the search space, hence what networks cost.

        sampler = SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")], budget="macs<=10M")
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        candidate = sampler.candidate(study.ask())

    `objectives` are those of the study in its order, `proposer` a name of `SAMPLERS` (known-cost, local or
    evolution) or a `Proposer`. Parameters that are no choices of the space are drawn at random. Threads of
    `study.optimize(n_jobs=)` propose one after another, each knowing what the others run.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        *,
        budget: str | Budget = "",
        costs: Mapping[str, CostFunction] | None = None,
        proposer: str | Proposer = "known-cost",
        seed: int = 0,
    ) -> None:
        made = make_sampler(proposer, seed)
        if not isinstance(made, Proposer):
            raise StudyError(
                f"a proposer must be one of this project's, but got {proposer!r}; give Optuna's to its study"
            )
        budget = Budget.parse(budget) if isinstance(budget, str) else budget
        judge = Judge(budget, tuple(objective.metric for objective in objectives), costs or {})
        self._problem = Problem(space, judge, tuple(objectives), budget)
        self._proposer = made
        self._seed = seed
        self._others = RandomSampler(seed=seed)
        self._form = Form(space, [objective.metric for objective in objectives])
        self._proposals: dict[_Key, _Proposal] = {}
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _lock=Lock())

    def candidate(self, trial: optuna.Trial) -> Candidate:
        """The network of a trial, which is asked its choices.

        Like `space.candidate(trial.suggest_categorical)`, but the options of a choice may depend on others.
        """
        with self._lock:
            for other in trial.study.get_trials(deepcopy=False):
                self._form.learn(_choices_of(other))
        return self._problem.space.candidate(
            lambda name, options: trial.suggest_categorical(self._form.key(name, options), options)
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        with self._lock:
            key = study.study_name, trial.number
            if key not in self._proposals:
                self._proposals[key] = self._propose(study, trial)
            chosen = self._proposals[key].choices.get(param_name, _ABSENT)
        if isinstance(param_distribution, CategoricalDistribution) and chosen in param_distribution.choices:
            return chosen
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        with self._lock:
            self._proposals.pop((study.study_name, trial.number), None)

    def _propose(self, study: Study, trial: FrozenTrial) -> _Proposal:
        """The next network; none, so random choices, where no other is found."""
        metrics = [objective.metric for objective in self._problem.objectives]
        complete: list[Trial] = []
        running: list[Known] = []
        seen: set[str] = set()
        for other in study.get_trials(deepcopy=False):
            self._form.learn(_choices_of(other))
            known = self._network(study, other) if other.number != trial.number else None
            if known is None:
                continue
            seen.add(known.architecture.id)
            if other.state == TrialState.COMPLETE and known.fits:
                values = {**known.values, **dict(zip(metrics, other.values, strict=True))}
                complete.append(Trial(other.number, known.architecture, "complete", values))
            elif other.state == TrialState.RUNNING:
                running.append(known)
        history = History(complete, running, seen)
        found = self._proposer.propose(self._problem, history, self._random(trial, "proposal"))
        if found is None:
            walk = Walk(self._problem.space, self._problem.judge, self._random(trial, "walk"))
            found = walk.find(seen, [each.architecture for each in complete])
        return _Proposal(found, self._form.choices(found)[0] if found else {})

    def _network(self, study: Study, trial: FrozenTrial) -> Known | None:
        """The network of a trial with its costs; None where its choices build none.

        Of a trial that has not asked for all of them yet, what it was proposed.
        """
        try:
            architecture = self._problem.space.resolve(
                lambda name, options: answers_from(trial.params)(self._form.key(name, options), options)
            )
        except SpaceError:
            proposal = self._proposals.get((study.study_name, trial.number))
            if proposal is None or proposal.architecture is None:
                return None
            architecture = proposal.architecture
        return self._problem.assess(architecture)

    def _random(self, trial: FrozenTrial, purpose: str) -> Random:
        return Random(f"{self._seed} {trial.number} {purpose}")


def _choices_of(trial: FrozenTrial) -> dict[str, BaseDistribution]:
    return {
        name: distribution
        for name, distribution in trial.distributions.items()
        if isinstance(distribution, CategoricalDistribution)
    }


_ABSENT = object()
