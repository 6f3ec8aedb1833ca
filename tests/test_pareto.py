"""Fronts and hypervolumes equal brute force, inclusion and exclusion, and Optuna's."""

import math
from itertools import combinations
from random import Random

import numpy as np
import pytest
from optuna._hypervolume import compute_hypervolume

from nas.pareto import Point, dominates, hypervolume, non_dominated


def random_points(rng: Random, count: int, size: int) -> list[tuple[float, ...]]:
    """Points on a coarse grid, so that many coordinates and some points are equal."""
    return [tuple(float(rng.randint(0, 6)) for _ in range(size)) for _ in range(count)]


def by_inclusion_and_exclusion(points: list[Point], reference: Point) -> float:
    """Boxes from each point to the reference: their sizes, minus those of pairs, plus those of triples …"""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(points, size):
            corner = [max(values) for values in zip(*chosen, strict=True)]
            sides = [max(0.0, end - start) for start, end in zip(corner, reference, strict=True)]
            total += (-1) ** (size + 1) * math.prod(sides)
    return total


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_non_dominated_points_by_brute_force(size: int) -> None:
    rng = Random(size)
    for _ in range(100):
        points = random_points(rng, rng.randint(0, 25), size)
        expected = [n for n, one in enumerate(points) if not any(dominates(two, one) for two in points)]
        assert list(non_dominated(points)) == expected


def test_what_dominates() -> None:
    assert dominates((1, 2), (1, 3)) and dominates((1, 2), (2, 3))
    assert not dominates((1, 2), (1, 2)) and not dominates((1, 2), (0, 3))
    with pytest.raises(ValueError, match="zip"):
        dominates((1, 2), (1, 2, 3))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_hypervolume_by_inclusion_and_exclusion(size: int) -> None:
    rng = Random(size)
    for _ in range(60):
        points = random_points(rng, rng.randint(0, 7), size)
        reference = (5.0,) * size  # some points lie behind it
        assert hypervolume(points, reference) == by_inclusion_and_exclusion(points, reference)


@pytest.mark.parametrize("size", [2, 3])
def test_hypervolume_equals_optuna(size: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(20):
        points = rng.random((15, size))
        inside = points[(points < 0.9).all(axis=1)]
        expected = compute_hypervolume(inside, np.full(size, 0.9))
        assert hypervolume(points.tolist(), (0.9,) * size) == pytest.approx(expected, rel=1e-12)


def test_dominated_points_add_nothing() -> None:
    rng = Random(0)
    for _ in range(50):
        points = random_points(rng, 12, 3)
        front = [points[n] for n in non_dominated(points)]
        assert hypervolume(front, (7, 7, 7)) == hypervolume(points, (7, 7, 7))
