"""Holds profiles against counting by hand, against every network of a small space, and against scipy."""

from collections.abc import Callable
from random import Random
from statistics import median_low

import pytest
from scipy.stats import binomtest

from nas.budget import Budget
from nas.cost import Cost
from nas.errors import BudgetError, SpaceError, StudyError, TargetError
from nas.graph import Graph
from nas.net import Net
from nas.search import Interval
from nas.search.profile import Profile, Share, profile_space
from nas.space import Architecture, Candidate, SearchSpace, load_space

Enumerated = Callable[[SearchSpace], dict[str, Architecture]]


def kilomacs(candidate: Candidate, exit: int | None = None) -> float:
    return Cost.of(candidate.graph, exit).macs / 1e3


def drawn(space: SearchSpace, networks: int, seed: int = 0) -> list[Graph]:
    """The networks that a profile draws."""
    rng = Random(f"{seed} sample")
    return [space.graph(space.sample(rng)) for _ in range(networks)]


@pytest.mark.parametrize("name", ["tiny", "mixed"])
def test_shares_and_spreads_are_those_of_counting_by_hand(name: str) -> None:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace)
    costs = [Cost.of(graph) for graph in drawn(space, 60, seed=3)]
    macs, peak_bytes = (sorted(getattr(cost, key) for cost in costs)[20] for key in ("macs", "peak_bytes"))
    profile = profile_space(space, f"macs<={macs}, memory<={peak_bytes}B", networks=60, seed=3)
    fits = [(cost.macs <= macs, cost.peak_bytes <= peak_bytes) for cost in costs]
    assert [share.fitting for share in profile.alone] == [sum(column) for column in zip(*fits, strict=True)]
    assert profile.together == Share(networks=60, fitting=sum(map(all, fits)), in_doubt=0)
    assert profile.reachable
    for key in ("macs", "params", "peak_bytes"):
        values = [getattr(cost, key) for cost in costs]
        spread = profile.spreads[key]
        found = (spread.smallest, spread.median, spread.largest, spread.networks)
        assert found == (min(values), median_low(values), max(values), 60)
    for key in ("macs", "peak_bytes"):
        assert profile.spreads[key].tightest <= profile.spreads[key].smallest
    assert profile.spreads["macs"].tightest < min(cost.macs for cost in costs)
    assert profile.spreads["params"].tightest is None


def test_tightest_values_are_the_true_ones(space: SearchSpace, enumerated: Enumerated) -> None:
    costs = [Cost.of(space.graph(network)) for network in enumerated(space).values()]
    profile = profile_space(space, "", networks=2, costs={"latency_ms": kilomacs})
    for key in ("macs", "params", "peak_bytes"):
        assert profile.spreads[key].tightest == min(getattr(cost, key) for cost in costs)
    assert profile.spreads["latency_ms"].tightest == min(cost.macs for cost in costs) / 1e3


def test_rare_networks_are_found(space: SearchSpace, enumerated: Enumerated) -> None:
    costs = [Cost.of(space.graph(network)) for network in enumerated(space).values()]
    least = min(costs, key=lambda cost: cost.params)
    budget = f"params<={least.params}, macs<={least.macs}"
    profile = profile_space(space, budget, networks=1, seed=1)
    assert profile.together.fitting == 0
    assert profile.reachable
    assert profile.answer == (
        "the budget can be met: none of 1 random networks fits, but a descent found one"
    )
    assert space.graph(profile.closest.architecture).id == profile.closest.architecture.id


def test_an_unreachable_limit_names_the_least(space: SearchSpace, enumerated: Enumerated) -> None:
    least = min(Cost.of(space.graph(network)).macs for network in enumerated(space).values())
    profile = profile_space(space, "macs<=10", networks=20)
    assert not profile.reachable
    assert profile.closest.costs["macs"].value == profile.spreads["macs"].tightest == least
    (limit,) = profile.budget.limits
    assert profile.answer == (
        f"the budget cannot be met: the least found for macs<=10 is {limit.format(least)}"
    )


def test_limits_that_exclude_each_other(space: SearchSpace, enumerated: Enumerated) -> None:
    def opposite(candidate: Candidate) -> float:
        return 1e4 / kilomacs(candidate)

    budget = Budget.parse("macs<=5K, latency<=200ms")
    profile = profile_space(space, budget, networks=20, costs={"latency_ms": opposite})
    assert all(map(profile.reaches, budget.limits))
    assert not profile.reachable
    assert "meets all together; the closest network has" in profile.answer
    macs = [Cost.of(space.graph(network)).macs for network in enumerated(space).values()]
    nearest = min(max(count / 5e3, 1e7 / count / 200) for count in macs)
    assert profile.closest.nearness(budget) == pytest.approx(nearest)


def test_an_exit_that_no_network_has(space: SearchSpace) -> None:
    profile = profile_space(space, "macs@5<=1M, macs<=1G", networks=20)
    assert (profile.spreads["macs@5"].networks, profile.spreads["macs@5"].tightest) == (0, None)
    assert [share.fitting for share in profile.alone] == [0, 20]
    assert not profile.reachable
    assert profile.answer == ("the budget cannot be met: no network was found that has exit 5 of macs@5<=1M")


def test_exits_that_some_networks_have(space: SearchSpace) -> None:
    profile = profile_space(space, "latency@1<=1s", networks=50, costs={"latency_ms": kilomacs})
    spread = profile.spreads["latency_ms@1"]
    two_exits = sum(len(graph.exits) == 2 for graph in drawn(space, 50))
    assert 0 < spread.networks == profile.together.fitting == two_exits < 50
    assert profile.spreads["latency_ms"].networks == 50


@pytest.mark.parametrize(
    ("limit", "fitting", "in_doubt"), [(5, 0, 0), (9, 0, 1), (10, 1, 1), (11, 1, 1), (12, 1, 0)]
)
def test_the_value_decides_and_doubt_is_counted(
    space: SearchSpace, limit: int, fitting: int, in_doubt: int
) -> None:
    costs = {"latency_ms": lambda candidate: Interval(8, 10, 12)}
    profile = profile_space(space, f"latency<={limit}ms", networks=1, costs=costs)
    assert (profile.together.fitting, profile.together.in_doubt) == (fitting, in_doubt)
    assert profile.reachable == bool(fitting)


@pytest.mark.parametrize(("fitting", "networks"), [(0, 20), (1, 37), (250, 500), (2000, 2000)])
def test_intervals_are_wilsons(fitting: int, networks: int) -> None:
    expected = binomtest(fitting, networks).proportion_ci(method="wilson")
    share = Share(networks=networks, fitting=fitting, in_doubt=0)
    assert share.interval == pytest.approx((expected.low, expected.high))


def test_the_seed_decides_everything(space: SearchSpace) -> None:
    def profile(seed: int) -> Profile:
        return profile_space(space, "macs<=2K", networks=20, seed=seed)

    assert profile(0) == profile(0)
    assert profile(0).spreads != profile(1).spreads


def test_costs_that_fail_are_not_counted(space: SearchSpace) -> None:
    def partly(candidate: Candidate) -> float:
        if len(candidate.graph.exits) == 2:
            raise TargetError("not known")
        return kilomacs(candidate)

    profile = profile_space(space, "latency<=1s", networks=50, costs={"latency_ms": partly})
    known = sum(len(graph.exits) == 1 for graph in drawn(space, 50))
    assert 0 < profile.together.fitting == profile.spreads["latency_ms"].networks == known < 50


def test_what_cannot_be_profiled(space: SearchSpace) -> None:
    with pytest.raises(BudgetError, match="a cost that is known"):
        profile_space(space, "latency<=1ms")
    with pytest.raises(StudyError, match="at least 1 network"):
        profile_space(space, "", networks=0)
    with pytest.raises(StudyError, match="finite"):
        profile_space(space, "", networks=1, costs={"latency_ms": lambda candidate: float("inf")})
    with pytest.raises(SpaceError, match="exit"):
        profile_space(SearchSpace(build_nothing, "tests:nothing"), "", networks=3)


def test_it_tells_what_it_does(space: SearchSpace) -> None:
    told: list[str] = []
    profile_space(space, "macs<=10, params<=10", networks=101, tell=told.append)
    assert told[:3] == [f"{done} of 101 random networks" for done in (0, 50, 100)]
    assert "looking for the least macs" in told
    assert told[-1] == "looking for networks with macs<=10, params<=10"


def build_nothing(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
    net.choice("width", 4, 8)
    net.input(input_shape)
