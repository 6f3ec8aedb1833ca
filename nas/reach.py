"""How the nodes of a network hang together: which exits they feed, and where features branch or join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["chains_of", "feeds_of", "pieces_of", "renumbered"]

_BEFORE = (1,)  # reads the node before, and no other


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


def chains_of(offsets: Sequence[tuple[int, ...]], exits: Sequence[int]) -> list[tuple[int, int]]:
    """Ranges (start, stop) of nodes in which each reads only the one before, which nothing else reads.

    Features branch, join and leave between chains only, so most work on a network is work on its chains.
    """
    starts = {0, *(exit + 1 for exit in exits)}
    for position, backs in enumerate(offsets):
        if backs != _BEFORE:
            starts.add(position)
            starts.update([position - back + 1 for back in backs])
    ordered = sorted(starts)
    stops = [*ordered[1:], len(offsets)]
    return [chain for chain in zip(ordered, stops, strict=True) if chain[0] < chain[1]]


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


def pieces_of(
    offsets: Sequence[tuple[int, ...]], owner: Sequence[int], results: Mapping[int, int]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Nodes, inputs and outputs of each piece of a network in which node `i` belongs to piece `owner[i]`.

    Inputs are nodes of other pieces that it reads, outputs are nodes that others read. `results` names a
    node that a piece must put out; if another piece makes it, it is handed through.
    """
    nodes: list[list[int]] = [[] for _ in range(max((*owner, *results)) + 1)]
    inputs: list[set[int]] = [set() for _ in nodes]
    outputs: list[set[int]] = [set() for _ in nodes]
    edges = [(position - back, owner[position]) for position, backs in enumerate(offsets) for back in backs]
    edges += [(position, piece) for piece, position in results.items()]
    for source, reader in edges:
        if owner[source] != reader:
            inputs[reader].add(source)
            outputs[owner[source]].add(source)
    for position, piece in enumerate(owner):
        nodes[piece].append(position)
    for piece, position in results.items():
        outputs[piece].add(position)
    return _ordered(nodes), _ordered(inputs), _ordered(outputs)


def _ordered(sets: Sequence[Iterable[int]]) -> list[tuple[int, ...]]:
    return [tuple(sorted(positions)) for positions in sets]
