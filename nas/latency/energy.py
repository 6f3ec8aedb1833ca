"""The energy of an inference as its user declares it, for targets that have no meter."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import final

from nas.budget import Budget, Limit
from nas.cascade import CascadeCost
from nas.errors import BudgetError

__all__ = ["DeclaredEnergy"]

_NUMBER = r"((?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)"
_TERMS = re.compile(rf"(?:{_NUMBER}\s*mJ\s*\+\s*)?{_NUMBER}\s*W")


@final
@dataclass(frozen=True)
class DeclaredEnergy:
    """An estimate: so many millijoules for each inference, and so many watts as long as it lasts.

    Both are read once off a meter in the device's supply, or taken from its data sheet. What follows from
    them is an estimate however well the time is measured.
    """

    fixed_mj: float
    power_w: float

    def __post_init__(self) -> None:
        if not (0 <= self.fixed_mj < math.inf and 0 < self.power_w < math.inf):
            raise BudgetError(
                f"declared energy must have at least 0 mJ, and watts above 0, but got {self}; correct it"
            )

    @staticmethod
    def parse(text: str) -> DeclaredEnergy:
        """Read `0.2mJ + 2.5W` or `2.5W`; `BudgetError` for anything else."""
        found = _TERMS.fullmatch(text.strip())
        if not found:
            raise BudgetError(
                f"declared energy must be written as 0.2mJ + 2.5W or 2.5W, but got {text!r}; write it so"
            )
        return DeclaredEnergy(float(found[1] or 0), float(found[2]))

    def __call__(self, ms: float) -> float:
        """Millijoules of an inference that takes so many milliseconds."""
        return self.fixed_mj + self.power_w * ms

    def as_cost(self, times: CascadeCost) -> CascadeCost:
        """Millijoules of the parts of a network whose milliseconds these are."""
        return times.scaled("energy_mj", self.power_w, once=self.fixed_mj)

    def as_latency(self, budget: Budget) -> Budget:
        """The same budget with limits on latency, which can be measured, in place of those on energy.

        `BudgetError` where even an inference that takes no time breaks a limit.
        """
        limits: dict[str, Limit] = {}
        for limit in budget.limits:
            if limit.metric == "energy_mj":
                limit = self._latency_limit(limit)
            limits[limit.key] = min(limit, limits.get(limit.key, limit), key=lambda limit: limit.bound)
        return Budget(tuple(limits.values()))

    def _latency_limit(self, limit: Limit) -> Limit:
        bound_ms = (limit.bound - self.fixed_mj) / self.power_w
        if bound_ms <= 0:
            raise BudgetError(
                f"a limit on energy must leave more than the {self.fixed_mj:g} mJ of each inference, but got "
                f"{limit}; widen it"
            )
        return Limit("latency", limit.exit, bound_ms)

    def __str__(self) -> str:
        """A text that parses to exactly this."""
        fixed, power = (repr(float(number)).removesuffix(".0") for number in (self.fixed_mj, self.power_w))
        return f"{fixed}mJ + {power}W"
