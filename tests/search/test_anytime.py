"""Accuracy at a cost not known beforehand: the area under a staircase, and a search that maximizes it."""

import math
from pathlib import Path
from random import Random

import numpy as np
import pytest

from nas.cost import Cost
from nas.errors import BudgetError, StudyError
from nas.interval import Interval
from nas.pareto import hypervolume
from nas.search import AnytimeEvaluation, CostRange, KnownCost, Maximize, Study
from nas.space import Candidate
from search_spaces.mixed import space

COSTS = CostRange.parse("macs 1M..8M")


def test_it_is_the_mean_over_random_budgets() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs, accuracies = rng.uniform(0.5e6, 10e6, 4), rng.uniform(0.2, 0.9, 4)
        budgets = np.exp(rng.uniform(math.log(1e6), math.log(8e6), 200_000))
        paid = costs[:, None] <= budgets
        mean = np.where(paid, accuracies[:, None], 0.1).max(axis=0).mean()
        found = COSTS.mean_accuracy(costs.tolist(), accuracies.tolist(), chance=0.1)
        assert found == pytest.approx(mean, abs=0.003)


def test_it_is_the_hypervolume_of_the_exits() -> None:
    costs, accuracies = [1.5e6, 3e6, 6e6], [0.6, 0.5, 0.8]
    points = [(math.log(cost), -accuracy) for cost, accuracy in zip(costs, accuracies, strict=True)]
    above = hypervolume(points, (math.log(8e6), -0.1)) / math.log(8)
    assert COSTS.mean_accuracy(costs, accuracies, chance=0.1) == pytest.approx(0.1 + above)


@pytest.mark.parametrize(
    "text", ["macs 1M..8M", "latency 0.02ms..0.3ms", "latency 20us..2s", "memory 1KiB..1MiB"]
)
def test_ranges_read_back_equal(text: str) -> None:
    costs = CostRange.parse(text)
    assert CostRange.parse(str(costs)) == costs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1M..8M", "must read like 'macs 0.5M..5M'"),
        ("macs 8M..1M", "must begin below its end"),
        ("macs 1M,latency<=3ms..4M", "must be of one quantity"),
        ("speed 1M..8M", "must limit one of"),
        ("latency 1..8", "latency must have one of the units"),
    ],
)
def test_broken_ranges(text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        CostRange.parse(text)


def told(candidate: Candidate) -> dict[str, float]:
    """Accuracies that rise with the logarithm of the MACs."""
    macs = [Cost.of(candidate.graph, exit).macs for exit in range(len(candidate.graph.exits))]
    return {f"accuracy@{exit}": min(0.95, math.log10(value) / 8) for exit, value in enumerate(macs)}


def test_an_evaluation_asks_its_cost_for_every_exit() -> None:
    found = space.sample(Random(2))
    candidate = Candidate(space, found)
    exits = range(len(candidate.graph.exits))

    def cost(candidate: Candidate, exit: int | None = None) -> Interval:
        assert exit is not None
        return Interval(0.0, 0.01 * (exit + 1), math.inf)

    timed = AnytimeEvaluation(told, CostRange.parse("latency 0.01ms..0.1ms"), cost)(candidate)
    accuracies = [timed[f"accuracy@{exit}"] for exit in exits]
    expected = CostRange.parse("latency 0.01ms..0.1ms").mean_accuracy(
        [0.01 * (exit + 1) for exit in exits], accuracies, chance=0.1
    )
    assert timed["anytime_accuracy"] == pytest.approx(expected)
    with pytest.raises(StudyError, match="latency_ms is not; give its function, such as a calibration"):
        AnytimeEvaluation(told, CostRange.parse("latency 1ms..2ms"))


def test_a_search_finds_networks_with_cheap_exits(tmp_path: Path) -> None:
    study = Study(
        space,
        tmp_path / "s",
        objectives=[Maximize("anytime_accuracy")],
        evaluate=AnytimeEvaluation(told, CostRange.parse("macs 100K..10M")),
        budget="macs<=10M, macs@0<=2M",
        sampler=KnownCost(candidates=100),
    )
    values = [trial.values["anytime_accuracy"] for trial in study.run(trials=25) if trial.evaluated]
    best = study.front.trials[0]
    assert best.values["anytime_accuracy"] == max(values)
    assert max(values[10:]) > max(values[:5]), "it learns"
    assert len(space.graph(best.architecture).exits) > 1


def test_all_that_is_counted_needs_no_function() -> None:
    candidate = Candidate(space, space.sample(Random(3)))
    exits = range(len(candidate.graph.exits))
    evaluation = AnytimeEvaluation(
        lambda candidate: {f"accuracy@{exit}": 0.5 for exit in exits}, CostRange.parse("size 1B..1GB")
    )
    assert 0.1 < evaluation(candidate)["anytime_accuracy"] < 0.5


def test_an_evaluation_that_leaves_an_exit_out() -> None:
    candidate = Candidate(space, space.sample(Random(3)))
    evaluation = AnytimeEvaluation(lambda candidate: {"accuracy": 0.5}, COSTS)
    with pytest.raises(StudyError, match="must tell accuracy@k of every exit k, but not of 0"):
        evaluation(candidate)


def test_a_cost_that_is_no_number_is_not_free() -> None:
    with pytest.raises(StudyError, match="costs must be at least 0, but got"):
        COSTS.mean_accuracy([math.nan], [0.9], chance=0.1)
