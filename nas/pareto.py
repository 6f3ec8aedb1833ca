"""Which points no other beats, and how much they cover; smaller is better in every coordinate."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["dominates", "hypervolume", "non_dominated"]

Point = Sequence[float]


def dominates(one: Point, other: Point) -> bool:
    """Whether `one` is nowhere worse than `other` and somewhere better."""
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def non_dominated(points: Sequence[Point]) -> tuple[int, ...]:
    """Positions of the points that no other dominates, in the order given; equal points stay together.

    >>> non_dominated([(1, 5), (2, 2), (3, 3), (4, 1)])
    (0, 1, 3)
    """
    kept: list[int] = []
    for position in sorted(range(len(points)), key=lambda position: tuple(points[position])):
        # A point can only be dominated by one that is lexicographically smaller, and then also by a kept one.
        if not any(dominates(points[other], points[position]) for other in kept):
            kept.append(position)
    return tuple(sorted(kept))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume between points and a reference worse in every coordinate, for any number of objectives.

    Slices along the last coordinate (Zitzler and Thiele, https://doi.org/10.1109/4235.797969).

    >>> hypervolume([(1, 2), (2, 1)], (3, 3))
    3.0
    """
    inside = [tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - min(point[0] for point in inside))
    levels = sorted({point[-1] for point in inside})
    volume = 0.0
    for low, high in zip(levels, [*levels[1:], reference[-1]], strict=True):
        slab = [point[:-1] for point in inside if point[-1] <= low]
        volume += (high - low) * hypervolume(slab, tuple(reference)[:-1])
    return volume
