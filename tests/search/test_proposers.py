"""Holds what proposers promise: new networks within the budget, and better ones than by chance."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from statistics import mean

import pytest

from nas.budget import Budget
from nas.cost import Cost
from nas.errors import SpaceError
from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.pareto import hypervolume
from nas.search import (
    Evolution,
    History,
    KnownCost,
    LocalSearch,
    Maximize,
    Minimize,
    Objective,
    Problem,
    Proposer,
    Trial,
    WarmStart,
)
from nas.search.judge import Judge
from nas.search.pool import Pool
from nas.space import Architecture, SearchSpace

Enumerated = Callable[[SearchSpace], dict[str, Architecture]]

PROPOSERS = [
    KnownCost(candidates=60),
    LocalSearch(first=5),
    Evolution(population=5, tournament=2),
    WarmStart((), LocalSearch(first=5)),
]
ERROR_AND_MACS = (Minimize("error"), Minimize("macs"))


def head(x: Feature) -> Feature:
    return linear(global_avg_pool(x), 4)


def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
    x = net.input(input_shape)
    for index in range(net.choice("depth", 1, 2, 3)):
        with net.scope(f"layer{index}"):
            x = conv(x, net.choice("width", 2, 4, 8, 12), kernel_size=net.choice("kernel", 1, 3))
    net.exit(head, x)


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace(build, "tests:depths")


def error(architecture: Architecture) -> float:
    """Smooth in the choices, and different for each network: wide first layers and kernels of 3 are good."""
    choices = dict(architecture.choices)
    depth = int(choices["depth"] or 0)
    widths = [float(choices[f"layer{index}.width"] or 0) for index in range(depth)]
    odd = sum(choices[f"layer{index}.kernel"] != 3 for index in range(depth))
    return 10 / (1 + widths[0]) + 4 / depth + 0.5 * odd + int(architecture.id[:4], 16) / 16**5


def problem_of(
    space: SearchSpace, objectives: tuple[Objective, ...] = ERROR_AND_MACS, budget: str = ""
) -> Problem:
    parsed = Budget.parse(budget)
    metrics = tuple(objective.metric for objective in objectives)
    return Problem(space, Judge(parsed, metrics, {}), objectives, parsed)


def searched(problem: Problem, proposer: Proposer, networks: int, seed: int = 0) -> list[Trial]:
    done: list[Trial] = []
    for number in range(networks):
        seen = {trial.architecture.id for trial in done}
        found = proposer.propose(problem, History(done, (), seen), Random(f"{seed} {number}"))
        if found is None:
            break
        known = problem.assess(found)
        assert known is not None
        values = {**known.values, "error": error(found), "accuracy": -error(found)}
        done.append(Trial(number, found, "complete", values))
    return done


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: type(proposer).__name__)
@pytest.mark.parametrize(
    "objectives",
    [
        ERROR_AND_MACS,
        (Maximize("accuracy"),),
        (Maximize("accuracy"), Minimize("macs"), Minimize("params")),
        (Minimize("error"), Maximize("accuracy"), Minimize("macs")),
        (Minimize("macs"), Minimize("params")),
    ],
    ids=lambda objectives: "+".join(objective.metric for objective in objectives),
)
def test_proposals_are_new_and_fit(
    proposer: Proposer, objectives: tuple[Objective, ...], space: SearchSpace
) -> None:
    problem = problem_of(space, objectives, "macs<=40K, params<=1K")
    trials = searched(problem, proposer, 12)
    assert len({trial.architecture.id for trial in trials}) == 12
    for trial in trials:
        cost = Cost.of(space.graph(trial.architecture))
        assert cost.macs <= 40_000 and cost.params <= 1000


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: type(proposer).__name__)
def test_rare_networks_are_found(proposer: Proposer, space: SearchSpace, enumerated: Enumerated) -> None:
    costs = {id: Cost.of(space.graph(each)).macs for id, each in enumerated(space).items()}
    bound = sorted(costs.values())[9]
    problem = problem_of(space, budget=f"macs<={bound}")
    reached = min(enumerated(space).values(), key=lambda each: costs[each.id])
    done: list[Trial] = []
    for number in range(6):
        seen = {trial.architecture.id for trial in done}
        found = proposer.propose(problem, History(done, (), seen, reached), Random(number))
        assert found is not None and costs[found.id] <= bound
        known = problem.assess(found)
        assert known is not None
        done.append(Trial(number, found, "complete", {**known.values, "error": error(found)}))
    assert len({trial.architecture.id for trial in done}) == 6


def covered(trials: list[Trial]) -> float:
    return hypervolume([(trial.values["error"], trial.values["macs"]) for trial in trials], (15, 100_000))


def test_known_cost_beats_looking_around(space: SearchSpace) -> None:
    problem = problem_of(space)
    shares = {
        name: mean(covered(searched(problem, proposer, 25, seed)) for seed in range(4))
        for name, proposer in (
            ("known-cost", KnownCost(candidates=200)),
            ("local", LocalSearch(first=10)),
            ("anywhere", LocalSearch(first=1000)),
        )
    }
    assert shares["known-cost"] > shares["local"] > shares["anywhere"]


def test_first_proposals_are_spread_over_the_costs(space: SearchSpace) -> None:
    macs = [trial.values["macs"] for trial in searched(problem_of(space), KnownCost(), 5)]
    assert macs[1] < macs[3] < macs[0] < macs[4] < macs[2]
    assert max(macs) > 10 * min(macs)


def test_workers_do_not_crowd(space: SearchSpace) -> None:
    problem, proposer = problem_of(space), KnownCost(candidates=200)
    done = searched(problem, proposer, 12)
    seen = {trial.architecture.id for trial in done}
    running = []
    for number in range(5):
        found = proposer.propose(problem, History(done, running, seen), Random(number))
        assert found is not None and found.id not in seen
        known = problem.assess(found)
        assert known is not None
        seen.add(found.id)
        running.append(known)
    alone = [
        proposer.propose(
            problem, History(done, (), seen - {each.architecture.id for each in running}), Random(number)
        )
        for number in range(5)
    ]
    crowd = len({each.id for each in alone if each is not None})
    assert len({known.architecture.id for known in running}) == 5 > crowd


def test_a_cost_that_all_share_counts_for_nothing(space: SearchSpace) -> None:
    objectives = (Minimize("error"), Minimize("macs"), Minimize("same"))
    budget = Budget.parse("")
    judge = Judge(budget, ("error", "macs", "same"), {"same": lambda candidate: 7.0})
    problem = Problem(space, judge, objectives, budget)
    trials = searched(problem, KnownCost(candidates=200), 14)
    without = searched(problem_of(space), KnownCost(candidates=200), 14)
    assert [trial.architecture for trial in trials] == [trial.architecture for trial in without]


def test_several_results_of_one_network(space: SearchSpace) -> None:
    problem = problem_of(space)
    done = searched(problem, KnownCost(candidates=60), 8)
    again = [replace(trial, number=8 + trial.number) for trial in done]
    seen = {trial.architecture.id for trial in done}
    found = KnownCost(candidates=60).propose(problem, History([*done, *again], (), seen), Random(0))
    assert found is not None and found.id not in seen


def test_pool_draws_no_network_twice(space: SearchSpace, enumerated: Enumerated) -> None:
    problem = problem_of(space, budget="macs<=10K")
    fitting = {id for id, each in enumerated(space).items() if Cost.of(space.graph(each)).macs <= 10_000}
    some = [each for id, each in enumerated(space).items() if id in fitting][:1]
    pool = Pool(problem, History((), (), {some[0].id}, some[0]), Random(0))
    drawn = [*pool.random(40), *pool.near(some, 40), *pool.neighbors(some, 40)]
    ids = [known.architecture.id for known in drawn]
    assert len(ids) == len(set(ids))
    assert set(ids) <= fitting - {some[0].id}
    known = dict(some[0].choices)
    for neighbor in Pool(problem, History((), (), frozenset()), Random(1)).neighbors(some, 5):
        both = {name: option for name, option in neighbor.architecture.choices if name in known}
        assert sum(option != known[name] for name, option in both.items()) == 1


def test_a_warm_start_proposes_what_it_is_given_and_fits_then_what_another_proposes(
    space: SearchSpace,
) -> None:
    small, large, wide = (
        space.architecture({"depth": 1, "layer0.width": width, "layer0.kernel": 3}) for width in (2, 12, 8)
    )
    budget = f"macs<={Cost.of(space.graph(wide)).macs}"
    starting = WarmStart((wide, large, small, wide), LocalSearch(first=1))
    trials = searched(problem_of(space, budget=budget), starting, 4)
    assert [trial.architecture for trial in trials[:2]] == [wide, small]
    assert searched(problem_of(space, budget=budget), starting, 4) == trials
    assert len(trials) == 4 and large not in [trial.architecture for trial in trials]


def test_a_warm_start_from_another_space_is_an_error(space: SearchSpace) -> None:
    foreign = SearchSpace(build, "tests:others").sample(Random(0))
    with pytest.raises(
        SpaceError, match=r"start from networks of tests:depths .* but got one of tests:others"
    ):
        WarmStart((foreign,)).propose(problem_of(space), History([], (), frozenset()), Random(0))
