"""Which exits each node of a network feeds, and what is left when nodes that feed none are dropped."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["feeds_of", "renumbered"]


def feeds_of(offsets: Sequence[tuple[int, ...]], exits: Sequence[int]) -> list[int]:
    """For each node the exits that can be reached from it, bit k standing for exit k; 0 marks a dead node.

    Node `i` reads nodes `i - offset`; `exits` are the positions of the logits.
    """
    feeds = [0] * len(offsets)
    for exit, position in enumerate(exits):
        feeds[position] |= 1 << exit
    for position in range(len(offsets) - 1, -1, -1):
        mask = feeds[position]
        if mask:
            for back in offsets[position]:
                feeds[position - back] |= mask
    return feeds


def renumbered(
    offsets: Sequence[tuple[int, ...]], heads: Sequence[range], alive: Sequence[int]
) -> tuple[list[tuple[int, ...]], tuple[range, ...]]:
    """Offsets and heads (ranges of positions that end in the logits) after all nodes but `alive` are taken
    out."""
    moved = {position: new for new, position in enumerate(alive)}
    return (
        [tuple(moved[p] - moved[p - back] for back in offsets[p]) for p in alive],
        tuple(range(min(moved[p] for p in head if p in moved), moved[head[-1]] + 1) for head in heads),
    )
