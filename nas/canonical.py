"""One identity for all descriptions of the same network: hashes of structure, blind to names and writing
order.

A node is identified by the expression that computes it (a Merkle hash over its operands). Where two nodes
are the same expression, e.g. two equal convolutions of one feature with weights of their own, expressions
alone do not tell who reads which, so colors are refined by readers as well (Weisfeiler and Lehman,
https://www.jmlr.org/papers/v12/shervashidze11a.html).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b

__all__ = ["canonical_id", "canonical_order"]

_DIGEST_BYTES = 16
_LONGEST_CHAIN = 256  # bytes; a run of unary nodes is hashed when its text gets longer than this


def canonical_id(
    tokens: Sequence[bytes],
    offsets: Sequence[tuple[int, ...]],
    swappable: Collection[int],
    weighted: Sequence[int],
    exits: Sequence[int],
) -> str:
    """32 hexadecimal digits that are equal exactly when the networks are (up to hash collisions).

    `tokens` stand for the layers, node `i` reads nodes `i - offset`, operands of `swappable` nodes have no
    order. Only `weighted` nodes have weights of their own: others that compute the same are one.
    """
    expressions = _expressions(tokens, offsets, swappable)
    parts = [_digest(expressions[position]) for position in exits]
    if len({expressions[position] for position in weighted}) < len(weighted):
        owner = _merged(expressions, offsets, set(weighted))
        colors = _refine(expressions, offsets, owner, swappable)
        parts += [colors[owner[position]] for position in exits] + sorted(colors.values())
    return _digest(b"".join(parts)).hex()


def canonical_order(
    tokens: Sequence[bytes],
    offsets: Sequence[tuple[int, ...]],
    swappable: Collection[int],
    exits: Sequence[int],
) -> tuple[int, ...]:
    """Positions in depth-first order from the first exit to the last, the operands of swappable nodes
    sorted."""
    expressions = _expressions(tokens, offsets, swappable)
    order: list[int] = []
    seen: set[int] = set()
    for exit in exits:
        stack = [(exit, False)]
        while stack:
            position, operands_done = stack.pop()
            if operands_done:
                order.append(position)
            elif position not in seen:
                seen.add(position)
                operands = [position - back for back in offsets[position]]
                if position in swappable:
                    operands.sort(key=expressions.__getitem__)
                stack.append((position, True))
                stack.extend((operand, False) for operand in reversed(operands))
    return tuple(order)


def _expressions(
    tokens: Sequence[bytes], offsets: Sequence[tuple[int, ...]], swappable: Collection[int]
) -> list[bytes]:
    """For each node a text of the expression that computes it. Chains are written out, joins are hashed:
    fast and exact."""
    expressions: list[bytes] = []
    for position, (token, backs) in enumerate(zip(tokens, offsets, strict=True)):
        if len(backs) == 1:
            text = expressions[position - backs[0]]
            expressions.append((text if len(text) < _LONGEST_CHAIN else _digest(text)) + token)
        else:
            operands = [_digest(expressions[position - back]) for back in backs]
            if position in swappable:
                operands.sort()
            expressions.append(b"".join(operands) + token)
    return expressions


def _merged(
    expressions: Sequence[bytes], offsets: Sequence[tuple[int, ...]], weighted: Collection[int]
) -> list[int]:
    """For each node the node it is one with: the first without weights that computes the same, or itself."""
    owner: list[int] = []
    first: dict[tuple[bytes, tuple[int, ...]], int] = {}
    for position, backs in enumerate(offsets):
        operands = tuple(owner[position - back] for back in backs)
        known = first.setdefault((expressions[position], operands), position)
        owner.append(position if position in weighted else known)
    return owner


def _refine(
    expressions: Sequence[bytes],
    offsets: Sequence[tuple[int, ...]],
    owner: Sequence[int],
    swappable: Collection[int],
) -> dict[int, bytes]:
    """Colors that also tell equal expressions apart by who reads them, refined until no class splits any
    more."""
    colors = {position: _digest(expressions[position]) for position in set(owner)}
    operands = {position: [owner[position - back] for back in offsets[position]] for position in colors}
    readers: dict[int, list[tuple[int, int]]] = {position: [] for position in colors}
    for position, sources in operands.items():
        for slot, source in enumerate(sources):
            readers[source].append((position, 0 if position in swappable else slot))
    while True:
        refined = {}
        for position, color in colors.items():
            above = [colors[source] for source in operands[position]]
            below = sorted(colors[reader] + bytes([slot & 255]) for reader, slot in readers[position])
            if position in swappable:
                above.sort()
            refined[position] = _digest(b"".join([color, b"above", *above, b"below", *below]))
        if len(set(refined.values())) == len(set(colors.values())):
            return refined
        colors = refined


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGEST_BYTES).digest()
