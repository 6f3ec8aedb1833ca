"""Hold the latency of a bundle's levels against their budget: at the export, and whenever asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from nas.budget import Budget, Limit
from nas.bundle import IMAGE, Bundle, BundleModel, Latency, Level
from nas.errors import BudgetError, BundleError
from nas.latency.segments import exit_models
from nas.latency.target import Target

__all__ = ["VerifiedLevel", "keeps_limit", "latency_limit", "measure_model", "verify_levels"]


@final
@dataclass(frozen=True, kw_only=True)
class VerifiedLevel:
    """A level of a bundle, measured again."""

    number: int
    certified: Level
    limit: Limit | None
    measured: Latency

    @property
    def ratio(self) -> float | None:
        """The median now over the certified one."""
        latency = self.certified.latency
        return None if latency is None else self.measured.p50_ms / latency.p50_ms

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps the budget, None where that limits no latency of this exit."""
        return None if self.limit is None else self.measured.p50_ms <= self.limit.bound

    def to_json(self) -> dict[str, Any]:
        latency = self.certified.latency
        return {
            "level": self.number,
            "model": self.certified.model,
            "exit": self.certified.exit,
            "certified_ms": None if latency is None else latency.to_json(),
            "measured_ms": self.measured.to_json(),
            "ratio": self.ratio,
            "budget": None if self.limit is None else str(self.limit),
            "kept": self.kept,
        }


def latency_limit(budget: Budget, exit: int, exits: int) -> Limit | None:
    """The tightest limit on the latency of one exit of a network with so many; `latency` limits the last."""
    limits = [
        limit
        for limit in budget.limits
        if limit.metric == "latency_ms" and exit == (exits - 1 if limit.exit is None else limit.exit)
    ]
    return min(limits, key=lambda limit: limit.bound, default=None)


def keeps_limit(latency: Latency, limit: Limit | None) -> bool | None:
    """Whether even the upper bound keeps the limit, None where there is no limit."""
    return None if limit is None else latency.upper_ms <= limit.bound


def measure_model(
    target: Target, bundle: Bundle, model: BundleModel, *, seconds: float
) -> tuple[Latency, ...]:
    """Latency of every exit of one network: its files run one after another on a random image."""
    image = np.random.default_rng(0).integers(0, 256, (1, *bundle.input_shape), np.uint8)
    files = [bundle.read(segment) for segment in model.segments]
    timing = target.time(files, {IMAGE: image}, seconds=seconds)
    names = [segment.name for segment in model.segments]
    return tuple(timing.latency(exit_models(names, exit)) for exit in range(model.exits))


def verify_levels(
    bundle: Bundle, target: Target, *, seconds: float = 2.0, progress: Callable[[str], None] | None = None
) -> tuple[VerifiedLevel, ...]:
    """Measure every level again, each network for at most about so many seconds.

    `progress` is told each step. `BundleError` where the bundle has no certificate, or one that is damaged.
    """
    budget = _certified_budget(bundle)
    times: dict[str, tuple[Latency, ...]] = {}
    for name in dict.fromkeys(level.model for level in bundle.levels):
        if progress:
            progress(f"measuring {name}")
        times[name] = measure_model(target, bundle, bundle.model(name), seconds=seconds)
    return tuple(
        VerifiedLevel(
            number=number,
            certified=level,
            limit=latency_limit(budget, level.exit, len(times[level.model])),
            measured=times[level.model][level.exit],
        )
        for number, level in enumerate(bundle.levels)
    )


def _certified_budget(bundle: Bundle) -> Budget:
    if bundle.certificate is None:
        rule = "must have a certificate to be verified"
        raise BundleError(f"bundle {bundle.path} {rule}, but has none; export it with a target")
    try:
        return Budget.parse(bundle.certificate.budget)
    except BudgetError as error:
        raise BundleError(f"bundle {bundle.path}: certificate.budget is damaged: {error}") from error
