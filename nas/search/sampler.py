"""Who proposes the next network, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, final

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nas.errors import StudyError
from nas.search.known_cost import KnownCost
from nas.search.neighborhood import Evolution, LocalSearch
from nas.search.proposer import Proposer

__all__ = ["SAMPLERS", "Given", "SteadyNsga2", "make_sampler", "sampler_name"]


@final
class SteadyNsga2(NSGAIISampler):
    """NSGA-II that is the same after a restart.

    Optuna's orders a generation's parents differently when it asks for them first than when it asks again.
    """

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


SAMPLERS: Mapping[str, Callable[[int], Proposer | BaseSampler]] = MappingProxyType(
    {
        "known-cost": lambda seed: KnownCost(),
        "local": lambda seed: LocalSearch(),
        "evolution": lambda seed: Evolution(),
        "random": lambda seed: RandomSampler(seed=seed),
        "tpe": lambda seed: TPESampler(seed=seed),
        # Optuna's own population of 50 does not leave its random start in a search of few trainings.
        "nsga2": lambda seed: SteadyNsga2(population_size=20, seed=seed),
        "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    }
)
"""For each name what makes the sampler of one proposal from its seed: one of this project, or of Optuna."""


@final
class Given(BaseSampler):
    """Proposes known parameters on behalf of another sampler, which keeps its books as on its own trials.

    An enqueued trial would belong to no generation of NSGA-II.
    """

    def __init__(self, sampler: BaseSampler, params: Mapping[str, Any]) -> None:
        self._sampler = sampler
        self._params = params

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        self._sampler.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._params[param_name]

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._sampler.after_trial(study, trial, state, values)


def make_sampler(sampler: str | Proposer | BaseSampler, seed: int) -> Proposer | BaseSampler:
    """The sampler of one proposal. One of Optuna given as an object keeps its own seed and state."""
    if isinstance(sampler, Proposer | BaseSampler):
        return sampler
    if sampler not in SAMPLERS:
        raise StudyError(
            f"a sampler must be one of {', '.join(SAMPLERS)}, a Proposer or an Optuna sampler, "
            f"but got {sampler!r}; name one of them"
        )
    return SAMPLERS[sampler](seed)


def sampler_name(sampler: str | Proposer | BaseSampler) -> str:
    """The name under which a study remembers its sampler."""
    return sampler if isinstance(sampler, str) else type(sampler).__name__
