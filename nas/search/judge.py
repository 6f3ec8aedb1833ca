"""Whether a candidate fits the budget: cheap costs are asked first, a real measurement only in doubt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple, final

from nas.budget import Budget
from nas.bundle import Latency
from nas.cost import Cost
from nas.errors import BudgetError, SpaceError, StudyError, TargetError
from nas.graph import Graph
from nas.interval import Interval
from nas.metric import METRICS, split_key
from nas.space import Candidate

__all__ = [
    "FAILURES",
    "CostFunction",
    "Judge",
    "MeasureFunction",
    "Verdict",
    "failure",
    "known_costs",
    "to_number",
]

FAILURES = (RuntimeError, MemoryError, TargetError)
"""What may go wrong with one network while others can be measured and trained."""

_COUNTED = tuple(name for name, metric in METRICS.items() if metric.counted)


CostFunction = Callable[..., float | Interval]
"""`(candidate)`, and `(candidate, exit=k)` where the cost is asked at an exit."""
MeasureFunction = Callable[..., Latency]
"""Called as a cost function is."""

_UNKNOWN = Interval(0.0, math.inf, math.inf)


@final
@dataclass(frozen=True)
class Verdict:
    """What is known of a candidate before it is evaluated."""

    values: Mapping[str, float]
    """Costs by key."""
    excess: Mapping[str, float]
    """For each judged limit how far the candidate is over it, as a share of the bound; positive: it does not
    hold."""
    reason: str = ""
    """Why it does not fit, in words."""
    unasked: tuple[str, ...] = ()
    """Keys of limits and costs not asked, because a limit before them does not hold."""
    measured: tuple[str, ...] = ()
    """Keys of the costs that were measured for this verdict."""

    @property
    def violated(self) -> tuple[str, ...]:
        return tuple(key for key, excess in self.excess.items() if excess > 0)

    @property
    def distance(self) -> tuple[int, float]:
        """How far from fitting, to be compared; (0, 0.0) where everything holds."""
        return len(self.unasked), sum(excess for excess in self.excess.values() if excess > 0)


@final
class _Answer(NamedTuple):
    value: float
    upper: float
    """What must be within the bound."""
    measured: bool


@final
class Judge:
    """Asks the costs of candidates, in order of what an answer costs.

    `macs, flops, params, peak_bytes, size_bytes` (four bytes per parameter) are always known. A cost of the
    user stands under its key, `latency_ms` or `latency_ms@0`, and replaces a known one. Where only
    `latency_ms` is given but `latency_ms@0` is needed, it is called with `exit=0`. Costs of the user are
    asked in their order and only while every limit before them holds.

    A latency whose interval straddles its bound is measured, if there is a way to; so is one that no cost
    tells. A measured one fits where the upper end of what was measured does; else an interval's `value`
    decides.
    """

    def __init__(
        self,
        budget: Budget,
        metrics: tuple[str, ...],
        costs: Mapping[str, CostFunction],
        measure: MeasureFunction | None = None,
    ) -> None:
        self._budget = budget
        self._limits = {limit.key: limit for limit in budget.limits}
        self._costs = costs
        self._measure = measure
        named = (*self._limits, *metrics)
        told = {*costs, *(("latency_ms",) if measure else ())}
        self._asked = tuple(dict.fromkeys((*costs, *(key for key in named if split_key(key)[0] in told))))
        free = dict.fromkeys((*_COUNTED, *(key for key in named if split_key(key)[0] in _COUNTED)))
        self._free = tuple(key for key in free if key not in self._asked)
        self._named = tuple(dict.fromkeys((*self._free, *self._asked, *named)))
        self._check()

    def __call__(self, candidate: Candidate, *, measuring: bool) -> Verdict:
        """Judge a candidate; without measuring, in favor of it where only a measurement could tell."""
        exits = len(candidate.graph.exits)
        present = {key for key in self._named if (split_key(key)[1] or 0) < exits}
        absent = [key for key in self._named if key not in present]
        excess = {key: float((split_key(key)[1] or 0) + 1 - exits) for key in absent}
        values = known_costs(candidate.graph, [key for key in self._free if key in present])
        excess |= self._budget.excess(values)
        upper: dict[str, float] = {}
        measured: tuple[str, ...] = ()
        for key in self._asked:
            if any(over > 0 for over in excess.values()):
                break
            told = self._ask(key, candidate, measuring=measuring)
            values[key], upper[key] = told.value, told.upper
            measured += (key,) if told.measured else ()
            excess |= self._budget.excess({key: told.upper})
        upper = {**values, **upper}
        reasons = [
            f"{self._limits[key]} must hold, but it is {self._limits[key].format(upper[key])}"
            if key in values
            else f"{key} must exist, but the network has {exits} exits, counted from 0"
            for key, over in excess.items()
            if over > 0
        ]
        needed = dict.fromkeys((*self._limits, *self._asked))
        unasked = tuple(key for key in needed if key not in excess and key not in values)
        return Verdict(values, excess, "; ".join(reasons), unasked, measured)

    def knows(self, metric: str) -> bool:
        """Whether a metric is known of a candidate before it is evaluated, without measuring."""
        return metric in self._free or metric in self._costs or split_key(metric)[0] in self._costs

    def recall(self, values: Mapping[str, float], measured: tuple[str, ...]) -> Verdict:
        """The verdict on a network that was within the budget before, from its values then."""
        costs = {key: value for key, value in values.items() if key in self._free + self._asked}
        return Verdict(costs, self._budget.excess(costs), measured=measured)

    def unbuildable(self, error: SpaceError) -> Verdict:
        """The verdict on choices that do not build a network."""
        return Verdict({}, {"shape": 1.0}, str(error), tuple(self._limits))

    def _check(self) -> None:
        """Raise an error where a limit is on nothing known, or a cost cannot be asked at an exit."""
        for key, limit in self._limits.items():
            if key not in self._asked + self._free:
                raise BudgetError(
                    f"a budget must limit a cost that is known, but {limit} is not; limit macs, flops, "
                    f"params, memory or size, or give costs={{{limit.metric!r}: a function of the candidate}}"
                )
        for key in self._asked:
            metric, exit = split_key(key)
            functions = (
                None if key in self._costs else self._costs.get(metric),
                self._measure if metric == "latency_ms" else None,
            )
            if exit is not None and not all(_takes_exit(function) for function in functions if function):
                raise StudyError(
                    f"a cost at an exit must be a function of (candidate, exit=k), "
                    f"but the one for {key} takes no exit; add exit=None to its arguments"
                )

    def _ask(self, key: str, candidate: Candidate, *, measuring: bool) -> _Answer:
        metric, exit = split_key(key)
        at = {} if exit is None else {"exit": exit}
        if key in self._costs:
            cost = self._costs[key](candidate)
        elif metric in self._costs:
            cost = self._costs[metric](candidate, **at)
        else:
            cost = _UNKNOWN
        measured, upper = False, None
        if isinstance(cost, Interval):
            if self._measure is None or metric != "latency_ms" or not self._undecided(key, cost):
                cost = cost.value
            elif measuring:
                latency, measured = _latency(self._measure(candidate, **at)), True
                cost, upper = latency.p50_ms, latency.high_ms
            else:
                upper = cost.low
                cost = cost.low if math.isinf(cost.value) else cost.value
        cost = to_number(cost, f"{key} of {candidate.id}")
        if not math.isfinite(cost):
            raise StudyError(
                f"a cost must be a finite number, but {key} of {candidate.id} is {cost}; mend its function"
            )
        return _Answer(cost, cost if upper is None else upper, measured)

    def _undecided(self, key: str, cost: Interval) -> bool:
        """Whether only a measurement can tell: in doubt about a bound, or nothing known from above."""
        limit = self._limits.get(key)
        return math.isinf(cost.high) if limit is None else cost.low <= limit.bound < cost.high


def failure(error: Exception) -> str:
    """Why something failed, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def to_number(value: Any, name: str) -> float:
    """What a user's function gave as a number; `StudyError` if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # the last of a tensor of several numbers
        raise StudyError(f"{name} must be a number, but got {value!r}; mend its function") from None


def _latency(measured: Any) -> Latency:
    if not isinstance(measured, Latency):
        raise StudyError(
            f"measure must give a nas.bundle.Latency, but gave {measured!r}; "
            "give numbers by costs={'latency_ms': …}"
        )
    return measured


def _takes_exit(function: Callable[..., Any]) -> bool:
    try:
        signature(function).bind(None, exit=0)
    except TypeError:
        return False
    except ValueError:  # written in C, which tells nothing of its arguments
        return True
    return True


def known_costs(graph: Graph, keys: Sequence[str]) -> dict[str, float]:
    """What follows from the graph alone: the counted metrics of these keys."""
    costs = {exit: Cost.of(graph, exit) for exit in {split_key(key)[1] for key in keys}}
    values: dict[str, float] = {}
    for key in keys:
        metric, exit = split_key(key)
        if metric != "size_bytes":
            values[key] = getattr(costs[exit], metric)
        elif exit is None:
            values[key] = 4 * sum(layer.params for layer in graph.layers)
        else:
            values[key] = 4 * costs[exit].params
    return values
