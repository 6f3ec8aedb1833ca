"""How the nodes of a network hang together: which exits they feed, and where features branch or join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["feeds_of", "pieces_of"]


def feeds_of(operands: Sequence[Sequence[int]], exits: Sequence[int]) -> list[int]:
    """For each part of a network the exits that it leads to, bit k standing for exit k; 0 marks a dead one.

    Part `i` reads the parts `operands[i]`, all before it; `exits` are the parts that end in logits.
    """
    feeds = [0] * len(operands)
    for exit, part in enumerate(exits):
        feeds[part] |= 1 << exit
    for part in range(len(operands) - 1, -1, -1):
        mask = feeds[part]
        if mask:
            for operand in operands[part]:
                feeds[operand] |= mask
    return feeds


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
