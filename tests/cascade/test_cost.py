"""Costs of leaving at each exit, against `Cost` of whole networks."""

import math
from random import Random

import numpy as np
import pytest

from nas.cascade import CascadeCost
from nas.cost import Cost
from nas.errors import SpaceError
from nas.graph import Graph
from search_spaces.mixed import space
from search_spaces.msdnet import msdnet_cifar10
from search_spaces.msdnet import space as msdnet


def graphs() -> list[Graph]:
    random = Random(3)
    found = [space.graph(space.sample(random)) for _ in range(30)]
    return [*(graph for graph in found if len(graph.exits) > 1), msdnet.graph(msdnet_cifar10)]


def test_macs_are_those_of_whole_networks() -> None:
    for graph in graphs():
        costs, last = CascadeCost.of_graph(graph), len(graph.exits) - 1
        alone = [Cost.of(graph, exit).macs for exit in range(last + 1)]
        assert costs.leaving([False] * last).tolist() == alone
        assert costs.leaving([True] * last)[-1] == Cost.total(graph).macs, "all heads run"
        assert costs.least == alone[0]


def test_parts_follow_from_measured_paths() -> None:
    costs = CascadeCost("latency_ms", (0.2, 0.3, 0.1), (0.05, 0.04, 0.0))
    alone, asking = costs.leaving([False, False]).tolist(), costs.leaving([True, True]).tolist()
    told = CascadeCost.of_paths("latency_ms", alone, asking)
    np.testing.assert_allclose((told.trunks, told.heads), (costs.trunks, costs.heads))


def test_disturbed_measurements_give_costs_all_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        alone = rng.uniform(0.1, 1, 4)
        costs = CascadeCost.of_paths("latency_ms", alone.tolist(), (alone + rng.normal(0, 0.1, 4)).tolist())
        assert min(costs.trunks + costs.heads) >= 0
        assert (np.diff(costs.leaving([True] * 3)) >= -1e-12).all(), "going on is never cheaper"
        assert costs.least == pytest.approx(alone[0])


def test_other_units() -> None:
    costs = CascadeCost("latency_ms", (0.2, 0.3), (0.05, 0.0)).scaled("energy_mj", 2.5, once=0.2)
    np.testing.assert_allclose(costs.leaving([True]), [0.2 + 2.5 * 0.25, 0.2 + 2.5 * 0.55])
    assert costs.metric == "energy_mj"


def test_paths_that_were_not_measured() -> None:
    with pytest.raises(SpaceError, match="costs must be finite"):
        CascadeCost.of_paths("latency_ms", [1.0, 2.0], [1.0, math.nan])


@pytest.mark.parametrize(
    ("trunks", "heads", "message"),
    [
        ((1.0,), (1.0, 2.0), "as many trunks as heads"),
        ((math.nan,), (1.0,), "finite, at least 0"),
        ((0.0, 1.0), (0.0, 1.0), "above 0 for the first exit"),
    ],
)
def test_broken_costs(trunks: tuple[float, ...], heads: tuple[float, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        CascadeCost("macs", trunks, heads)
    with pytest.raises(SpaceError, match="both paths must be measured"):
        CascadeCost.of_paths("latency_ms", [1.0, 2.0], [1.0])
