"""Holds expected gains against hypervolumes computed one by one."""

import numpy as np
import pytest
from numpy.random import default_rng

from nas.pareto import hypervolume
from nas.search.improvement import Cells, Directions, nodes


def gain(point: np.ndarray, front: np.ndarray, reference: np.ndarray) -> float:
    points = [tuple(each) for each in front]
    return hypervolume([*points, tuple(point)], reference) - hypervolume(points, reference)


@pytest.mark.parametrize("costs", [0, 1, 2, 3])
@pytest.mark.parametrize("networks", [1, 9])
def test_gain_of_a_certain_network_is_its_hypervolume(costs: int, networks: int) -> None:
    rng = default_rng(costs)
    front, candidates = rng.random((networks, 1 + costs)), rng.random((25, 1 + costs))
    reference = np.full(1 + costs, 0.9)
    found = Cells(front, reference).gain(candidates[:, :1], np.ones(1), candidates[:, 1:])
    expected = [gain(candidate, front, reference) for candidate in candidates]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert max(expected) > 0


def test_gain_of_an_uncertain_network_is_the_mean() -> None:
    rng = default_rng(5)
    front, reference = np.array([[0.7, 0.2], [0.55, 0.5], [0.45, 0.8]]), np.array([1.0, 1.0])
    values, weights = nodes()
    losses = 0.5 + 0.1 * values[None]
    found = Cells(front, reference).gain(losses, weights, np.array([[0.4]]))[0]
    drawn = 0.5 + 0.1 * rng.standard_normal(20_000)
    expected = np.mean([gain(np.array([loss, 0.4]), front, reference) for loss in drawn])
    assert found == pytest.approx(expected, rel=0.03)


def test_a_thousand_cells_and_candidates_are_gone_through_in_parts() -> None:
    rng = default_rng(1)
    front, candidates = rng.random((40, 3)), rng.random((700, 3))
    reference = np.ones(3)
    found = Cells(front, reference).gain(candidates[:, :1], np.ones(1), candidates[:, 1:])
    for place in range(0, 700, 100):
        assert found[place] == pytest.approx(gain(candidates[place], front, reference), abs=1e-12)


@pytest.mark.parametrize("objectives", [2, 3])
def test_directions_order_as_hypervolume_does(objectives: int) -> None:
    rng = default_rng(objectives)
    front, candidates = rng.random((8, objectives)) * 0.5 + 0.3, rng.random((60, objectives))
    reference = np.ones(objectives)
    found = Directions(front, reference, default_rng(0)).gain(candidates[:, None, :])
    expected = np.array([gain(candidate, front, reference) for candidate in candidates])
    assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert (found[expected == 0] == 0).all(), "what is dominated adds nothing in any direction"


def test_nodes_integrate_polynomials() -> None:
    values, weights = nodes()
    assert weights.sum() == pytest.approx(1)
    assert weights @ values**2 == pytest.approx(1)
    assert weights @ values**4 == pytest.approx(3)
