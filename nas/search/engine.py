"""Optuna under a study: proposes with the sampler of one proposal, and stores each trial once it is done.

Samplers work on a copy of the study in memory, because a stored study would write a line for each choice
that is asked. The copy holds exactly what is stored, so a proposal is the same after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import final

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from nas.choices import Answer, Option
from nas.search.journal import quiet_optuna
from nas.search.sampler import Given
from nas.search.trial import Trial
from nas.space import Architecture, SearchSpace

__all__ = ["Engine"]

_STATES = {
    "complete": TrialState.COMPLETE,
    "infeasible": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "repeat": TrialState.FAIL,  # samplers must not learn the same result twice
}
_LEGACY_CONSTRAINTS = "constraints"  # the only ones that optuna-dashboard 0.21 shows


@final
class Engine:
    """The stored study and its copy in memory."""

    def __init__(self, space: SearchSpace, stored: optuna.Study) -> None:
        self._space = space
        self._stored = stored
        with quiet_optuna():
            self._copy = optuna.create_study(directions=stored.directions)
        self._options: dict[str, tuple[Option, ...]] = {}
        for done in stored.get_trials(deepcopy=False):
            trial = copy(done)
            trial.system_attrs = {k: v for k, v in done.system_attrs.items() if k != _LEGACY_CONSTRAINTS}
            self._copy.add_trial(trial)
            for name, distribution in trial.distributions.items():
                assert isinstance(distribution, CategoricalDistribution), "choices are categorical"
                self._options.setdefault(name, distribution.choices)

    def ask(self, sampler: BaseSampler, proposal: Architecture | None = None) -> optuna.Trial:
        """A new trial of the sampler's choices, or of a network proposed by other means."""
        if proposal is not None:
            stored = dict(proposal.choices)
            params: dict[str, Option] = {}
            self._space.resolve(
                lambda name, options: params.setdefault(self._key(name, options), stored[name])
            )
            sampler = Given(sampler, params)
        self._copy.sampler = sampler
        return self._copy.ask()

    def answer(self, asked: optuna.Trial) -> Answer:
        """Answers the choices of a space with those of the trial."""
        return lambda name, options: asked.suggest_categorical(self._key(name, options), options)

    def tell(
        self, asked: optuna.Trial, trial: Trial, *, excess: Mapping[str, float], values: Sequence[float]
    ) -> None:
        """Finish an asked trial and store it in one write; `values` are the objectives' if it is complete."""
        for key, over in excess.items():
            asked.set_constraint(key, over)
        for key, value in trial.to_json().items():
            asked.set_user_attr(key, value)
        done = self._copy.tell(asked, values or None, _STATES[trial.state])
        done.system_attrs[_LEGACY_CONSTRAINTS] = list(excess.values())
        self._stored.add_trial(done)

    def _key(self, name: str, options: Sequence[Option]) -> str:
        """The name of a choice for Optuna, which wants the options of a name to be the same in all trials."""
        known = self._options.setdefault(name, tuple(options))
        return name if known == tuple(options) else f"{name} of {', '.join(map(repr, options))}"
