"""Tells before any training what share of a space fits a budget, and how near to it networks can come.

Shares are those of random networks, options being equally likely. What is rarer is found by descents.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import final

from nas.budget import Budget, Limit
from nas.errors import SpaceError, StudyError
from nas.interval import Interval
from nas.metric import QUANTITIES, split_key
from nas.search.judge import FAILURES, CostFunction, Judge, to_number
from nas.search.repair import Walk
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Network", "Profile", "Share", "Spread", "profile_space"]

_ALWAYS = ("macs", "params", "peak_bytes", "size_bytes")
_Z = statistics.NormalDist().inv_cdf(0.975)
_UNREACHABLE = 1e-9  # a bound below every value that a network can have, in any unit
_TIGHTER = 1 - 1e-9  # less than a change by 1 of the largest count
_TELL_EVERY = 50  # networks


@final
@dataclass(frozen=True)
class Network:
    """A network and its costs by key.

    Those of exits that it does not have are missing, and those that their function failed to tell.
    """

    architecture: Architecture
    costs: Mapping[str, Interval]

    def fits(self, limits: Sequence[Limit], end: str = "value") -> bool:
        """Whether all limits hold for its costs, or for the `low` or `high` end of their intervals."""
        return all(
            limit.key in self.costs and getattr(self.costs[limit.key], end) <= limit.bound for limit in limits
        )

    def nearness(self, budget: Budget) -> float:
        """The largest of its costs as a share of their bounds; at most 1: it fits."""
        if any(limit.key not in self.costs for limit in budget.limits):
            return math.inf
        return max((self.costs[limit.key].value / limit.bound for limit in budget.limits), default=0.0)


@final
@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the random networks fit."""

    networks: int
    fitting: int
    in_doubt: int
    """Networks that fit at one end of their costs' intervals and not at the other; the value decided."""

    @property
    def ratio(self) -> float:
        return self.fitting / self.networks

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share of the whole space lies 19 times in 20.

        Wilson's score interval (https://doi.org/10.1080/01621459.1927.10502953).
        """
        weight = _Z**2 / self.networks
        center = (self.ratio + weight / 2) / (1 + weight)
        half = math.sqrt(self.ratio * (1 - self.ratio) * weight + weight**2 / 4) / (1 + weight)
        return max(0.0, center - half), min(1.0, center + half)


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over the random networks that have it, and the least that descents found."""

    networks: int
    smallest: float | None
    median: float | None
    largest: float | None
    tightest: float | None
    """Never above the smallest; None where it was not looked for, or no network has this exit."""


@final
@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of a space and a budget before anything is trained."""

    budget: Budget
    spreads: Mapping[str, Spread]
    """By key: counted metrics, those with a cost function, and every limited one."""
    alone: tuple[Share, ...]
    """For each limit of the budget."""
    together: Share
    closest: Network
    """The network nearest to the budget, or well within it."""

    @property
    def reachable(self) -> bool:
        """Whether a network was found that fits the budget."""
        return self.closest.nearness(self.budget) <= 1

    def reaches(self, limit: Limit) -> bool:
        """Whether a network was found that keeps this limit."""
        return (self.spreads[limit.key].tightest or math.inf) <= limit.bound

    @property
    def answer(self) -> str:
        """Whether the budget can be met, and how often or why not, in words."""
        if not self.reachable:
            may = "may or may not" if self.closest.fits(self.budget.limits, "low") else "cannot"
            return f"the budget {may} be met: {self._obstacle()}"
        share = self.together
        if not share.fitting:
            often = f"none of {share.networks:,} random networks fits, but a descent found one"
        elif share.ratio > 0.5:
            often = f"about {share.ratio:.0%} of the networks fit"
        else:
            often = f"about 1 in {round(1 / share.ratio):,} networks fits"
        return f"the budget can be met: {often}"

    def _obstacle(self) -> str:
        reasons = [self._shortfall(limit) for limit in self.budget.limits if not self.reaches(limit)]
        reasons = reasons or ["each limit can be met, but no network was found that meets all together"]
        if len(self.budget.limits) > 1 and math.isfinite(self.closest.nearness(self.budget)):
            found = ((limit, self.closest.costs[limit.key].value) for limit in self.budget.limits)
            values = (f"{limit.format(value)} for {limit}" for limit, value in found)
            reasons.append(f"the closest network has {', '.join(values)}")
        return "; ".join(reasons)

    def _shortfall(self, limit: Limit) -> str:
        tightest = self.spreads[limit.key].tightest
        if tightest is None:
            return f"no network was found that has exit {limit.exit} of {limit}"
        return f"the least found for {limit} is {limit.format(tightest)}"


def profile_space(
    space: SearchSpace,
    budget: str | Budget,
    *,
    costs: Mapping[str, CostFunction] | None = None,
    networks: int = 2000,
    seed: int = 0,
    tell: Callable[[str], object] = lambda text: None,
) -> Profile:
    """Draw random networks, and descend to the least of each limited metric (of all, if none is limited).

    Where no network fits the budget, descents lead toward it. `costs` are as those of a study. `tell` is
    called with what is being done, in words.
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    if networks < 1:
        raise StudyError(f"a profile must draw at least 1 network, but got {networks}; ask for more")
    Judge(budget, (), costs or {})  # an error where a limit is on nothing known
    descents = _Descents(space, _keys(budget, costs or {}), costs or {}, seed)
    sample = descents.sample(networks, tell)
    tightest = {}
    for key in [limit.key for limit in budget.limits] or descents.keys:
        tell(f"looking for the least {key}")
        tightest[key] = descents.tightest(key, sample)
    closest = min((*sample, *tightest.values()), key=lambda network: network.nearness(budget))
    if closest.nearness(budget) > 1 and len(budget.limits) > 1:
        tell(f"looking for networks with {budget}")
        closest = descents.closest(budget, closest, tightest)
    return Profile(
        budget=budget,
        spreads={key: _spread(key, sample, tightest.get(key)) for key in descents.keys},
        alone=tuple(_share(sample, (limit,)) for limit in budget.limits),
        together=_share(sample, budget.limits),
        closest=closest,
    )


@final
class _Descents:
    """Draws networks at random, and finds those that cost less than any drawn."""

    def __init__(
        self, space: SearchSpace, keys: Sequence[str], costs: Mapping[str, CostFunction], seed: int
    ) -> None:
        self.keys = tuple(keys)
        self._space = space
        self._costs = costs
        self._seed = seed
        self._counted = Judge(Budget(), self.keys, {})

    def sample(self, networks: int, tell: Callable[[str], object]) -> list[Network]:
        """So many networks, without choices that build none; `SpaceError` where all are such."""
        rng, sample, unbuildable = Random(f"{self._seed} sample"), list[Network](), SpaceError()
        for number in range(networks):
            if number % _TELL_EVERY == 0:
                tell(f"{number:,} of {networks:,} random networks")
            try:
                sample.append(self._network(self._space.sample(rng)))
            except SpaceError as error:
                unbuildable = error
        if not sample:
            raise unbuildable
        return sample

    def tightest(self, key: str, sample: Sequence[Network]) -> Network:
        """The network where a metric is least; any where none has it."""
        metric, exit = split_key(key)
        quantity = next(word for word, known in QUANTITIES.items() if known.name == metric)
        least = Budget((Limit(quantity, exit, _UNREACHABLE),))
        return self._nearest(least, min(sample, key=lambda network: network.nearness(least)))

    def closest(self, budget: Budget, start: Network, tightest: Mapping[str, Network]) -> Network:
        """A network that fits, or the nearest."""
        alone = [tightest[limit.key].nearness(Budget((limit,))) for limit in budget.limits]
        if math.inf in alone:
            return start
        found = self._find(budget) if max(alone) <= 1 else None
        return found or self._nearest(budget, start)

    def _nearest(self, budget: Budget, best: Network) -> Network:
        """The nearest network that descents from `best` with ever tighter bounds find, or one that fits."""
        while (nearness := best.nearness(budget)) > 1:
            bounds = (replace(limit, bound=limit.bound * nearness * _TIGHTER) for limit in budget.limits)
            starts = [best.architecture] if math.isfinite(nearness) else []
            found = self._find(Budget(tuple(bounds)), starts)
            if found is None:
                break
            best = found
        return best

    def _find(self, budget: Budget, starts: Sequence[Architecture] = ()) -> Network | None:
        """A network that fits, found by descents of which every other begins at one of `starts`."""
        told = {name for limit in budget.limits for name in (limit.key, limit.metric)}
        costs = {key: function for key, function in self._costs.items() if key in told}
        walk = Walk(self._space, Judge(budget, (), costs), Random(f"{self._seed} {budget!r}"))
        found = walk.find(starts=starts)
        return None if found is None else self._network(found)

    def _network(self, architecture: Architecture) -> Network:
        candidate = Candidate(self._space, architecture)
        costs = {
            key: Interval(value, value, value)
            for key, value in self._counted(candidate, measuring=False).values.items()
            if key in self.keys
        }
        for key in self.keys:
            metric, exit = split_key(key)
            if not {key, metric} & self._costs.keys() or (exit or 0) >= len(candidate.graph.exits):
                continue
            try:
                costs[key] = self._ask(key, candidate)
            except FAILURES:
                costs.pop(key, None)
        return Network(architecture, costs)

    def _ask(self, key: str, candidate: Candidate) -> Interval:
        metric, exit = split_key(key)
        own = self._costs.get(key)
        cost = own(candidate) if own else self._costs[metric](candidate, exit=exit)
        if not isinstance(cost, Interval):
            value = to_number(cost, f"{key} of {candidate.id}")
            cost = Interval(value, value, value)
        if not math.isfinite(cost.value):
            raise StudyError(
                f"{key} of {candidate.id} must be finite, but is {cost.value}; mend its function"
            )
        return cost


def _keys(budget: Budget, costs: Mapping[str, CostFunction]) -> tuple[str, ...]:
    bounded = {metric.name for metric in QUANTITIES.values()}
    known = [key for key in costs if split_key(key)[0] in bounded]
    return tuple(dict.fromkeys((*_ALWAYS, *known, *(limit.key for limit in budget.limits))))


def _spread(key: str, sample: Sequence[Network], tightest: Network | None) -> Spread:
    values = [network.costs[key].value for network in sample if key in network.costs]
    return Spread(
        networks=len(values),
        smallest=min(values, default=None),
        median=statistics.median_low(values) if values else None,
        largest=max(values, default=None),
        tightest=tightest.costs[key].value if tightest and key in tightest.costs else None,
    )


def _share(sample: Sequence[Network], limits: Sequence[Limit]) -> Share:
    return Share(
        networks=len(sample),
        fitting=sum(network.fits(limits) for network in sample),
        in_doubt=sum(network.fits(limits, "low") and not network.fits(limits, "high") for network in sample),
    )
