"""Who proposes the next network: Optuna's samplers by name, seeded for one proposal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.errors import StudyError

__all__ = ["SAMPLERS", "make_sampler", "sampler_name"]

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = MappingProxyType(
    {
        "random": lambda seed: RandomSampler(seed=seed),
        "tpe": lambda seed: TPESampler(seed=seed),
        # Optuna's own population of 50 does not leave its random start in a search of few trainings.
        "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
        "gp": lambda seed: GPSampler(seed=seed),
    }
)
"""For each name what makes the sampler of one proposal from its seed."""


def make_sampler(sampler: str | BaseSampler, seed: int) -> BaseSampler:
    """The sampler of one proposal. One given as an object keeps its own seed and state."""
    if isinstance(sampler, BaseSampler):
        return sampler
    if sampler not in SAMPLERS:
        raise StudyError(
            f"a sampler must be one of {', '.join(SAMPLERS)} or an Optuna sampler, but got {sampler!r}"
        )
    return SAMPLERS[sampler](seed)


def sampler_name(sampler: str | BaseSampler) -> str:
    """The name under which a study remembers its sampler."""
    return sampler if isinstance(sampler, str) else type(sampler).__name__
