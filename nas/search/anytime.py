"""All exits of a network as one number: how right it is when stopped at a cost not known beforehand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.budget import Budget, Limit
from nas.errors import BudgetError, StudyError
from nas.interval import Interval
from nas.metric import METRICS
from nas.search.judge import CostFunction, known_costs
from nas.space import Candidate

__all__ = ["ANYTIME", "AnytimeEvaluation", "CostRange"]

ANYTIME = "anytime_accuracy"
"""The metric that `AnytimeEvaluation` adds."""

_TEXT = re.compile(r"\s*([a-z]+)\s+(\S+?)\.\.(\S+)\s*")


@final
@dataclass(frozen=True)
class CostRange:
    """The costs between which a network may be stopped.

    >>> costs = CostRange.parse("macs 1M..4M")
    >>> costs.mean_accuracy([2e6, 8e6], [0.8, 0.9], chance=0.1)
    0.45
    """

    low: Limit
    high: Limit

    @staticmethod
    def parse(text: str) -> CostRange:
        """Read `quantity low..high`, both with their unit as in a budget: `latency 0.02ms..0.3ms`."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise BudgetError(
                f"a range of costs must read like 'macs 0.5M..5M', but got {text!r}; write it so"
            )
        quantity, *ends = match.groups()
        (low, *more), (high, *others) = (Budget.parse(f"{quantity}<={end}").limits for end in ends)
        if more or others:
            raise BudgetError(f"a range of costs must be of one quantity, but got {text!r}; give one")
        if not low.bound < high.bound:
            raise BudgetError(f"a range of costs must begin below its end, but got {text!r}; turn it around")
        return CostRange(low, high)

    @property
    def metric(self) -> str:
        return self.low.metric

    def mean_accuracy(self, costs: Sequence[float], accuracies: Sequence[float], *, chance: float) -> float:
        """Mean accuracy over budgets between the ends, all of whose logarithms are alike.

        An answer is that of the best exit a budget pays, `chance` before the first. It is the area under this
        staircase over log cost, or the hypervolume of the exits, as a share of the whole.
        """
        if not all(cost >= 0 for cost in costs):
            raise StudyError(
                f"costs must be at least 0, but got {[*costs]}; mend the function that tells them"
            )
        low, high = math.log(self.low.bound), math.log(self.high.bound)
        best, reached, area = chance, low, 0.0
        for cost, accuracy in sorted(zip(costs, accuracies, strict=True)):
            place = min(max(math.log(cost), low), high) if cost > 0 else low
            area += best * (place - reached)
            best, reached = max(best, accuracy), place
        return (area + best * (high - reached)) / (high - low)

    def __str__(self) -> str:
        """A text that parses to exactly this range."""
        ends = (str(limit).partition("<=")[2] for limit in (self.low, self.high))
        return f"{self.low.quantity} {'..'.join(ends)}"


@final
class AnytimeEvaluation:
    """An evaluation that tells `anytime_accuracy` too, to be maximized by a search over dynamic networks.

    `evaluate` must give `accuracy@k` for every exit k, as `ShortTraining` does. The cost is a function
    of (candidate, exit=k), such as a `Calibration`; MACs and what else follows from a graph need none.
    """

    def __init__(
        self,
        evaluate: Callable[..., Mapping[str, float]],
        costs: CostRange,
        cost: CostFunction | None = None,
    ) -> None:
        if cost is None and not METRICS[costs.metric].counted:
            raise StudyError(
                f"a range of costs must be of what is known, but {costs.metric} is not; "
                "give its function, such as a calibration"
            )
        self._evaluate, self._costs, self._cost = evaluate, costs, cost

    def __call__(self, candidate: Candidate, **rung: Any) -> dict[str, float]:
        found = dict(self._evaluate(candidate, **rung))
        exits = range(len(candidate.graph.exits))
        if missing := [exit for exit in exits if f"accuracy@{exit}" not in found]:
            raise StudyError(
                f"the evaluation must tell accuracy@k of every exit k, but not of {missing[0]}; "
                "let it return it"
            )
        accuracies = [found[f"accuracy@{exit}"] for exit in exits]
        costs = [self._cost_of(candidate, exit) for exit in exits]
        chance = 1 / candidate.graph.num_classes
        return found | {ANYTIME: self._costs.mean_accuracy(costs, accuracies, chance=chance)}

    def _cost_of(self, candidate: Candidate, exit: int) -> float:
        if self._cost is None:
            key = f"{self._costs.metric}@{exit}"
            return float(known_costs(candidate.graph, [key])[key])
        cost = self._cost(candidate, exit=exit)
        return cost.value if isinstance(cost, Interval) else float(cost)
