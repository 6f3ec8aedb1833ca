"""Choose a level of a bundle by what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from nas.budget import Budget
from nas.bundle import Level
from nas.errors import BudgetError

__all__ = ["level_within"]


def level_within(levels: Sequence[Level], budget: str | Budget) -> int:
    """The number of the most accurate level that keeps a budget, of equal ones the cheapest.

    A budget may limit `macs`, `flops`, `latency` (its upper bound counts) and `energy`, of the level as a
    whole: where images leave at different exits that is the mean over them, not what each takes.
    `BudgetError` names the closest level where none keeps it.
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    costs = [_costs(level) for level in levels]
    for limit in budget.limits:
        if limit.exit is not None or limit.metric not in _METRICS:
            rule = f"a level is chosen by limits on {', '.join(_METRICS)} without an exit"
            raise BudgetError(f"{rule}, but got {str(limit)!r}; leave it out")
        if missing := [number for number, known in enumerate(costs) if limit.metric not in known]:
            rule = f"levels must have {limit.metric} to be chosen by it"
            raise BudgetError(f"{rule}, but level {missing[0]} has none; export the bundle with a target")
    keep = [number for number, known in enumerate(costs) if budget.holds(known)]
    if not keep:
        over = [max(budget.excess(known).values()) for known in costs]
        closest = min(range(len(levels)), key=over.__getitem__)
        raise BudgetError(
            f"a level must keep {str(budget)!r}, but the closest, level {closest}, is "
            f"{100 * over[closest]:.3g} % over it; allow more"
        )
    return max(keep, key=lambda number: (levels[number].accuracy, -number))


_METRICS = ("macs", "flops", "latency_ms", "energy_mj")


def _costs(level: Level) -> dict[str, float]:
    costs: dict[str, float | None] = {
        "macs": level.macs,
        "flops": 2 * level.macs,
        "latency_ms": level.latency.upper_ms if level.latency else None,
        "energy_mj": level.energy_mj,
    }
    return {name: value for name, value in costs.items() if value is not None}
