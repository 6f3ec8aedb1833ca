"""Levels whose images leave where an exit is sure: thresholds solved from budgets, measured way by way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nas.budget import Budget
from nas.bundle import Level
from nas.cascade import CascadeCost, Validation, cascade_at, cost_within, spread_budgets
from nas.errors import BudgetError
from nas.export.config import ExportConfig
from nas.export.measuring import SECONDS_PER_EXIT, Answers, Conditions, MeasuredLevel, declared_energy
from nas.graph import Graph
from nas.latency import DeclaredEnergy, Target
from nas.latency.verification import keeps_limit, latency_limit
from nas.latency.ways import Way, WayTimes, mean_latency, ways_of
from nas.runtime import Runtime

__all__ = ["cascade_levels", "check_budgets"]


def cascade_levels(
    runtime: Runtime,
    graph: Graph,
    exits: Sequence[MeasuredLevel],
    *,
    answers: Answers,
    conditions: Conditions,
    config: ExportConfig,
) -> list[MeasuredLevel]:
    """At most `config.cascades` levels of a network whose `exits` are measured, and one per budget given.

    The mean budgets of the former lie at equal ratios between the first exit and what the best accuracy
    needs, in milliseconds given a target, else in MACs. Thresholds that were found before are left out, and
    it is warned of where a budget given comes to none.
    """
    name, data, target = exits[0].level.model, conditions.data, conditions.target
    readout = runtime.bundle.model(name).readout
    shares = config.class_shares
    val = Validation.of_answers(answers.val, data.y_val, readout, class_shares=shares)
    test = Validation.of_answers(answers.test, data.y_test, readout, class_shares=shares, name="test")
    macs = CascadeCost.of_graph(graph)
    known = {Way(name, exit): found.level.measured for exit, found in enumerate(exits) if target}
    times = WayTimes(target, runtime.bundle, name, seconds=SECONDS_PER_EXIT, known=known) if target else None
    found: dict[tuple[float, ...], MeasuredLevel] = {}
    for costs, bound in _bounds(val, _costs(macs, times, conditions.energy), config):
        try:
            cascade = cost_within(val, costs, bound)
        except BudgetError as error:
            _say(f"{name} has no level for {bound}: {error}")
            continue
        thresholds = cascade.thresholds
        if not any(limit <= 1 for limit in thresholds[: cascade.exit]):
            if isinstance(bound, str):
                _say(f"{name} needs no thresholds for {bound}: exit {cascade.exit} alone is as good")
            continue
        if thresholds in found:
            continue
        level = Level(
            model=name,
            exit=cascade.exit,
            accuracy=cascade.accuracy,
            macs=round(cascade_at(val, macs, thresholds).cost),
            thresholds=thresholds,
            shares=cascade.shares,
        )
        if times:
            level = _timed(level, times, conditions, exits=len(exits))
        found[thresholds] = MeasuredLevel(level, cascade_at(test, macs, thresholds).accuracy)
    return list(found.values())


def _say(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _costs(
    macs: CascadeCost, times: WayTimes | None, energy: DeclaredEnergy | None
) -> dict[str, CascadeCost]:
    """All in which a mean can be bounded, by metric."""
    known = [macs]
    if times:
        timed = times.costs()
        known += [timed, *([energy.as_cost(timed)] if energy else [])]
    return {costs.metric: costs for costs in known}


def _bounds(
    val: Validation, costs: Mapping[str, CascadeCost], config: ExportConfig
) -> Iterator[tuple[CascadeCost, float | str]]:
    spread = costs.get("latency_ms", costs["macs"])
    if config.cascades:
        yield from ((spread, bound) for bound in spread_budgets(val, spread, config.cascades))
    for text in config.cascade_budgets:
        yield costs[Budget.parse(text).limits[0].metric], text


def check_budgets(texts: Sequence[str], *, target: Target | None, energy: DeclaredEnergy | None) -> None:
    """`BudgetError` for a mean budget in what will not be known."""
    known = ["macs", *(["latency"] if target else []), *(["energy"] if target and energy else [])]
    for text in texts:
        limits = Budget.parse(text).limits
        if len(limits) != 1 or limits[0].exit is not None or limits[0].quantity not in known:
            raise BudgetError(
                f"a mean budget must limit one of {', '.join(known)}, and at no exit, but got {text!r}; "
                "change it, or give a target for latency, and what an inference draws for energy"
            )


def _timed(level: Level, times: WayTimes, conditions: Conditions, *, exits: int) -> Level:
    """The level with what its ways take; the longest must keep a budget."""
    ways = ways_of(level)
    measured = {way: times.latency(way) for way in ways}
    latency = mean_latency(ways, measured)
    limit = latency_limit(conditions.budget, level.exit, exits)
    return replace(
        level,
        latency=latency,
        keeps_budget=keeps_limit(measured[list(ways)[-1]], limit),
        **declared_energy(latency, conditions.energy),
    )
