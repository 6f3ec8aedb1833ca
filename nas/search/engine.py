"""Optuna under a study: the form in which trials are stored, and proposals by its samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.choices import Answer, Option
from nas.errors import SpaceError
from nas.search.journal import quiet_optuna
from nas.search.objective import Objective
from nas.search.sampler import Given
from nas.search.trial import Trial
from nas.space import Architecture, SearchSpace

__all__ = ["Books", "Engine", "Form"]

Books = Mapping[str, Any]
"""What a sampler of Optuna remembers of a proposal: the system attributes of its trial."""

_STATES = {
    "complete": TrialState.COMPLETE,
    "partial": TrialState.PRUNED,
    "infeasible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "repeat": TrialState.FAIL,  # samplers must not learn the same result twice
}
_LEGACY_CONSTRAINTS = "constraints"  # the only ones that optuna-dashboard 0.21 shows


@final
class Form:
    """Turns trials into Optuna's."""

    def __init__(self, space: SearchSpace, metrics: Sequence[str]) -> None:
        self._space = space
        self._metrics = metrics
        self._options: dict[str, tuple[Option, ...]] = {}

    def learn(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Keep to the options that stored trials have."""
        for name, distribution in distributions.items():
            assert isinstance(distribution, CategoricalDistribution), "choices are categorical"
            self._options.setdefault(name, distribution.choices)

    def key(self, name: str, options: Sequence[Option]) -> str:
        """The name of a choice for Optuna, which wants the options of a name to be the same in all trials."""
        known = self._options.setdefault(name, tuple(options))
        return name if known == tuple(options) else f"{name} of {', '.join(map(repr, options))}"

    def of(self, trial: Trial, excess: Mapping[str, float], books: Books) -> FrozenTrial:
        """A trial that has ended; `excess` are its constraints."""
        params, distributions = self.choices(trial.architecture)
        complete = trial.state == "complete"
        return create_trial(
            state=_STATES[trial.state],
            values=[trial.values[metric] for metric in self._metrics] if complete else None,
            params=params,
            distributions=distributions,
            user_attrs=trial.to_json(),
            system_attrs={**books, _LEGACY_CONSTRAINTS: list(excess.values())},
            constraints=dict(excess),
        )

    def choices(self, architecture: Architecture) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The choices of an architecture, as far as its space asks them, and their options."""
        stored = dict(architecture.choices)
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}

        def answer(name: str, options: Sequence[Option]) -> Option:
            key = self.key(name, options)
            distributions[key] = CategoricalDistribution(options)
            return params.setdefault(key, stored[name])

        with suppress(SpaceError):  # of choices that build no network
            self._space.resolve(answer)
        return params, distributions


@final
class Engine:
    """Proposals by samplers of Optuna, from a copy of the study in memory.

    A stored study would write a line for each choice that is asked. The copy holds what is stored, in the
    order in which it was, so a proposal is the same after a restart.
    """

    def __init__(self, form: Form, objectives: Sequence[Objective]) -> None:
        self._form = form
        with quiet_optuna():
            self._copy = optuna.create_study(directions=[objective.direction for objective in objectives])
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self, draw: int, sampler: BaseSampler, proposal: Architecture | None = None) -> Answer:
        """Answers to the choices of a space: the sampler's, or those of a network proposed by other means."""
        if proposal is not None:
            sampler = Given(sampler, self._form.choices(proposal)[0])
        self._copy.sampler = sampler
        asked = self._asked[draw] = self._copy.ask()
        return lambda name, options: asked.suggest_categorical(self._form.key(name, options), options)

    def books(self, draw: int) -> Books:
        """What the sampler remembers of a proposal."""
        number = self._asked[draw].number
        return dict(self._copy.get_trials(deepcopy=False)[number].system_attrs)

    def learn(self, draw: int, done: FrozenTrial) -> None:
        """Take in a trial that has ended, by whomever it was proposed."""
        trial = copy(done)
        trial.system_attrs = {k: v for k, v in done.system_attrs.items() if k != _LEGACY_CONSTRAINTS}
        asked = self._asked.pop(draw, None)
        if asked is None:
            self._copy.add_trial(trial)
            return
        for key, excess in trial.constraints.items():
            asked.set_constraint(key, excess)
        for key, value in trial.user_attrs.items():
            asked.set_user_attr(key, value)
        self._copy.tell(asked, trial.values, trial.state)
