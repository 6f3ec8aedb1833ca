"""One identity for all descriptions of a network: hashes of structure, blind to names and writing order.

A node is identified by the expression that computes it (a Merkle hash over its operands). Where two nodes
are the same expression, e.g. two equal convolutions of one feature with weights of their own, expressions
alone do not tell who reads which, so colors are refined by readers as well (Weisfeiler and Lehman,
https://www.jmlr.org/papers/v12/shervashidze11a.html).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple, final

from nas.chains import Chain

__all__ = ["Structure", "canonical_id", "canonical_order", "quick_id"]

_DIGEST_BYTES = 16


@final
class Structure(NamedTuple):
    """What a network is apart from names. `exits` are the positions of the logits.

    `tokens` stand for the layers, node `i` reads nodes `i - offset`, operands of `swappable` nodes have no
    order. Only `weighted` nodes have weights of their own: others that compute the same are one.
    """

    tokens: Sequence[bytes]
    offsets: Sequence[tuple[int, ...]]
    swappable: Collection[int]
    weighted: Sequence[int]
    exits: Sequence[int]


def canonical_id(network: Structure) -> str:
    """32 hexadecimal digits that are equal for equal networks, and differ for all others but two kinds.

    These are hash collisions, and rings of equal layers that refinement does not see: six equal convolutions
    of one feature, added in pairs that form one ring of six or two rings of three.
    """
    expressions = _expressions(network)
    parts = [_digest(expressions[position]) for position in network.exits]
    if _has_twins(network, expressions):
        owner = _merged(network, expressions)
        colors = _refine(network, expressions, owner)
        parts += [colors[owner[position]] for position in network.exits] + sorted(colors.values())
    return _digest(b"".join(parts)).hex()


def quick_id(chains: Sequence[Chain], operands: Sequence[Sequence[int]], exits: Sequence[int]) -> str | None:
    """The same id from chains, the chains that they read and the chains that end in logits.

    None where two chains may begin with equal expressions up to a layer with weights. Where none do, no two
    layers with weights are equal expressions: the uppermost pair would stand first in two chains.
    """
    texts: list[bytes] = []
    heavy = [chain.heavy_text for chain in chains]
    heads: set[bytes] = set()
    for chain, sources, text in zip(chains, operands, heavy, strict=True):
        if len(sources) == 1:
            source = texts[sources[0]]
        else:
            digests = [_digest(texts[source]) for source in sources]
            if chain.swappable:
                digests.sort()
            source = b"".join(digests)
        texts.append(source + chain.text)
        if text is not None:
            heads.add(source + text)
    if len(heads) < len(heavy) - heavy.count(None):
        return None
    return _digest(b"".join([_digest(texts[exit]) for exit in exits])).hex()


def canonical_order(network: Structure) -> tuple[int, ...]:
    """Positions in depth-first order from exit to exit, the operands of swappable nodes sorted."""
    ranks = _expressions(network)
    if _has_twins(network, ranks):
        owner = _merged(network, ranks)
        colors = _refine(network, ranks, owner)
        ranks = [colors[position] for position in owner]
    order: list[int] = []
    seen: set[int] = set()
    for exit in network.exits:
        stack = [(exit, False)]
        while stack:
            position, operands_done = stack.pop()
            if operands_done:
                order.append(position)
            elif position not in seen:
                seen.add(position)
                operands = [position - back for back in network.offsets[position]]
                if position in network.swappable:
                    operands.sort(key=ranks.__getitem__)
                stack.append((position, True))
                stack.extend((operand, False) for operand in reversed(operands))
    return tuple(order)


def _expressions(network: Structure) -> list[bytes]:
    """For each node a text of the expression that computes it: what it reads, then its token."""
    expressions: list[bytes] = []
    for position, token in enumerate(network.tokens):
        expressions.append(_operands(network, position, expressions) + token)
    return expressions


def _operands(network: Structure, position: int, expressions: Sequence[bytes]) -> bytes:
    """What a node reads, as a text: one operand written out, several hashed, so that texts stay short."""
    backs = network.offsets[position]
    if len(backs) == 1:
        return expressions[position - backs[0]]
    operands = [_digest(expressions[position - back]) for back in backs]
    if position in network.swappable:
        operands.sort()
    return b"".join(operands)


def _has_twins(network: Structure, expressions: Sequence[bytes]) -> bool:
    """Whether nodes with weights of their own compute equal expressions."""
    return len({expressions[position] for position in network.weighted}) < len(network.weighted)


def _merged(network: Structure, expressions: Sequence[bytes]) -> list[int]:
    """For each node the node it is one with: the first without weights that computes the same, or itself."""
    weighted = set(network.weighted)
    owner: list[int] = []
    first: dict[tuple[bytes, tuple[int, ...]], int] = {}
    for position, backs in enumerate(network.offsets):
        operands = [owner[position - back] for back in backs]
        if position in network.swappable:
            operands.sort()
        known = first.setdefault((expressions[position], tuple(operands)), position)
        owner.append(position if position in weighted else known)
    return owner


def _refine(network: Structure, expressions: Sequence[bytes], owner: Sequence[int]) -> dict[int, bytes]:
    """Colors that also tell equal expressions apart by exits and readers, until no class splits any more."""
    offsets, swappable, exits = network.offsets, network.swappable, network.exits
    colors = {position: _digest(expressions[position]) for position in set(owner)}
    for exit, position in enumerate(exits):
        colors[owner[position]] = _digest(colors[owner[position]] + b"exit %d" % exit)
    operands = {position: [owner[position - back] for back in offsets[position]] for position in colors}
    readers: dict[int, list[tuple[int, int]]] = {position: [] for position in colors}
    for position, sources in operands.items():
        for slot, source in enumerate(sources):
            readers[source].append((position, 0 if position in swappable else slot))
    while True:
        refined = {}
        for position, color in colors.items():
            above = [colors[source] for source in operands[position]]
            below = sorted(colors[reader] + b"%d" % slot for reader, slot in readers[position])
            if position in swappable:
                above.sort()
            refined[position] = _digest(b"".join([color, b"above", *above, b"below", *below]))
        if len(set(refined.values())) == len(set(colors.values())):
            return refined
        colors = refined


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTES).digest()
