"""Hold the latency of a bundle's levels against their budget: at the export, and whenever asked again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, final

from nas.budget import Budget, Limit
from nas.bundle import Bundle, Latency, Level
from nas.errors import BudgetError, BundleError
from nas.latency.survey import PAUSE_S, measure_within
from nas.latency.target import Target
from nas.latency.ways import Way, mean_latency, measure_files, ways_of

__all__ = ["VerifiedLevel", "keeps_limit", "latency_limit", "verify_levels"]


@final
@dataclass(frozen=True, kw_only=True)
class VerifiedLevel:
    """A level of a bundle, measured again."""

    number: int
    certified: Level
    limit: Limit | None
    measured: Latency
    """With thresholds the mean over images as those of validation, else the only way's."""
    longest: Latency
    """Of an image that leaves at the last exit of the level, which must keep the budget."""

    @property
    def ratio(self) -> float | None:
        """The median now over the certified one."""
        latency = self.certified.latency
        return None if latency is None else self.measured.p50_ms / latency.p50_ms

    @property
    def kept(self) -> bool | None:
        """Whether the median keeps the budget, None where that limits no latency of this exit."""
        return None if self.limit is None else self.longest.p50_ms <= self.limit.bound

    def to_json(self) -> dict[str, Any]:
        latency = self.certified.latency
        return {
            "level": self.number,
            "model": self.certified.model,
            "exit": self.certified.exit,
            "certified_ms": None if latency is None else latency.to_json(),
            "measured_ms": self.measured.to_json(),
            "longest_ms": self.longest.to_json(),
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


def verify_levels(
    bundle: Bundle,
    target: Target,
    *,
    seconds: float = 2.0,
    pause_s: float = PAUSE_S,
    progress: Callable[[str], None] | None = None,
) -> tuple[VerifiedLevel, ...]:
    """Measure every way through the levels again for at most about so many seconds, thrice if too slow.

    Before it is measured once more nothing is done for `pause_s`. `progress` is told each step.
    `BundleError` where the bundle has no certificate, or one that is damaged.
    """
    budget = _certified_budget(bundle)
    ways = [ways_of(level) for level in bundle.levels]
    times: dict[Way, Latency] = {}
    promised = {list(taken)[-1] for taken in ways}
    for way in dict.fromkeys(chain(*ways)):
        if progress:
            progress(f"measuring {way.model}, exit {way.exit}")
        exits = bundle.model(way.model).exits
        limit = latency_limit(budget, way.exit, exits) if way in promised else None
        measure = partial(
            measure_files, target, bundle, way.model, way.exit, seconds=seconds, asked=way.asked
        )
        times[way] = measure_within(measure, limit.bound if limit else math.inf, pause_s=pause_s)
    return tuple(
        VerifiedLevel(
            number=number,
            certified=level,
            limit=latency_limit(budget, level.exit, bundle.model(level.model).exits),
            measured=mean_latency(taken, times),
            longest=times[list(taken)[-1]],
        )
        for number, (level, taken) in enumerate(zip(bundle.levels, ways, strict=True))
    )


def _certified_budget(bundle: Bundle) -> Budget:
    if bundle.certificate is None:
        rule = "must have a certificate to be verified"
        raise BundleError(f"bundle {bundle.path} {rule}, but has none; export it with a target")
    try:
        return Budget.parse(bundle.certificate.budget)
    except BudgetError as error:
        raise BundleError(f"bundle {bundle.path}: certificate.budget is damaged: {error}") from error
