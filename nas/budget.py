"""What must hold on the device, with units: `"macs<=2M, latency@0<=0.3ms, memory<=256KiB"`.

A budget names a quantity, optionally an exit (`@k`, from 0), a bound and its unit. It parses to limits on
metrics, whose names carry the unit that all code uses: `macs, flops, params, latency_ms, peak_bytes,
size_bytes, energy_mj`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from nas.errors import BudgetError
from nas.metric import QUANTITIES

__all__ = ["Budget", "Limit"]

_LIMIT = re.compile(r"\s*([a-z]+)(?:@(\d+))?\s*<=\s*([0-9.]+(?:e[+-]?\d+)?)\s*([A-Za-zµ]*)\s*")


@final
@dataclass(frozen=True)
class Limit:
    """A metric, at one exit or (None) at the last, must be at most `bound`, in its own unit."""

    quantity: str
    exit: int | None
    bound: float

    @property
    def metric(self) -> str:
        return QUANTITIES[self.quantity].name

    @property
    def key(self) -> str:
        """The metric with its exit, as measured values are keyed: `latency_ms`, `latency_ms@0`."""
        return self.metric if self.exit is None else f"{self.metric}@{self.exit}"

    def excess(self, value: float) -> float:
        """How far a value is over the bound, as a share of it; at most 0 where the limit holds."""
        return value / self.bound - 1

    def format(self, value: float) -> str:
        """A value of this quantity in the largest unit that keeps it at 1 or more: `1.25M`, `300us`."""
        units = sorted(QUANTITIES[self.quantity].units.items(), key=lambda unit: unit[1])
        if self.metric.endswith("_bytes"):
            units = [unit for unit in units if unit[0] == "B" or "i" in unit[0]]
        fitting = [unit for unit in units if value >= unit[1]] or units[:1]
        name, factor = fitting[-1]
        return f"{value / factor:.6g}{name}"

    def __str__(self) -> str:
        """A text that parses to exactly this limit."""
        left = self.quantity if self.exit is None else f"{self.quantity}@{self.exit}"
        short = f"{left}<={self.format(self.bound)}"
        if _parse_limit(short) == self:
            return short
        own_unit = next(name for name, factor in QUANTITIES[self.quantity].units.items() if factor == 1)
        return f"{left}<={self.bound!r}{own_unit}"


@final
@dataclass(frozen=True)
class Budget:
    """Limits that must all hold; none at all is a budget too.

    >>> budget = Budget.parse("macs<=2M, latency@0 <= 300us")
    >>> budget.excess({"macs": 3e6, "latency_ms@0": 0.3})
    {'macs': 0.5, 'latency_ms@0': 0.0}
    >>> str(budget)
    'macs<=2M, latency@0<=300us'
    """

    limits: tuple[Limit, ...] = ()

    @staticmethod
    def parse(text: str) -> Budget:
        """Read `quantity[@exit]<=number unit` parts, separated by commas."""
        parts = text.split(",") if text.strip() else []
        limits = tuple(map(_parse_limit, parts))
        keys = [limit.key for limit in limits]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise BudgetError(
                f"a budget must limit each metric once, but {text!r} limits {twice[0]} twice; keep one"
            )
        return Budget(limits)

    def excess(self, values: Mapping[str, float]) -> dict[str, float]:
        """For each limit whose value is given, how far it is over the bound (at most 0: it holds)."""
        return {limit.key: limit.excess(values[limit.key]) for limit in self.limits if limit.key in values}

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether every limit holds; each limited metric must be among the values."""
        return all(values[limit.key] <= limit.bound for limit in self.limits)

    def __str__(self) -> str:
        return ", ".join(map(str, self.limits))


def _parse_limit(part: str) -> Limit:
    match = _LIMIT.fullmatch(part)
    if match is None:
        raise BudgetError(
            f"a budget must read like 'macs<=2M' or 'latency@0<=0.3ms', but got {part.strip()!r}; write it so"
        )
    quantity, exit, number, unit = match.groups()
    if quantity not in QUANTITIES:
        raise BudgetError(
            f"a budget must limit one of {', '.join(QUANTITIES)}, but got {quantity!r}; name one of these"
        )
    factor = _unit_factor(quantity, unit, part.strip())
    try:
        bound = float(number) * factor
    except ValueError:
        raise BudgetError(f"a bound must be a number, but got {number!r} in {part.strip()!r}") from None
    if not 0 < bound < math.inf:
        raise BudgetError(f"a bound must be positive and finite, but got {part.strip()!r}; give such a bound")
    return Limit(quantity, None if exit is None else int(exit), bound)


def _unit_factor(quantity: str, unit: str, part: str) -> float:
    units = QUANTITIES[quantity].units
    known = {"k": "K", "kB": "KB", "µs": "us", "µJ": "uJ"}.get(unit, unit)
    if known not in units:
        choices = ", ".join(name for name in units if name)
        given = f"has {unit!r}" if unit else "has none"
        raise BudgetError(
            f"{quantity} must have one of the units {choices}, but {part!r} {given}; add one of these"
        )
    return units[known]
