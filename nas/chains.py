"""Networks as chains of layers: features branch and join between chains, so most work is on chains."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import final

from nas.op import Layer

__all__ = ["BEFORE", "Chain", "merged", "starts_of"]

BEFORE = (1,)
"""Offsets of a layer that reads the one before it, and no other."""


@final
class Chain:
    """Layers one after another, of which each reads only the one before, which nothing else reads.

    `backs` say how many layers back of its place the operands of the first one stand, so a chain means the
    same wherever it is written. What readers of a graph add up over layers is added up here, once.
    """

    __slots__ = (
        "backs",
        "between_bytes",
        "first_bytes",
        "heavy_text",
        "last_bytes",
        "layers",
        "length",
        "macs",
        "params",
        "swappable",
        "text",
    )

    def __init__(self, layers: tuple[Layer, ...], backs: tuple[int, ...]) -> None:
        first, *others = layers
        sizes = [first.out_bytes, *(layer.out_bytes for layer in others if not layer.overwrites)]
        heavy = next((position for position, layer in enumerate(layers) if layer.params), None)
        self.layers = layers
        self.backs = backs
        self.length = len(layers)
        self.macs = sum(layer.macs for layer in layers)
        self.params = sum(layer.params for layer in layers)
        self.first_bytes = sizes[0]
        self.last_bytes = sizes[-1]
        self.between_bytes = max((before + after for before, after in pairwise(sizes)), default=0)
        """The most that two neighbors need together."""
        self.swappable = len(backs) > 1 and first.op.commutative
        self.text = b"".join([layer.token for layer in layers])
        self.heavy_text = None if heavy is None else b"".join([layer.token for layer in layers[: heavy + 1]])
        """The text up to the first layer with weights; None without one."""

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def of(layer: Layer, backs: tuple[int, ...]) -> Chain:
        """A chain of one layer."""
        return Chain((layer,), backs)

    def at(self, backs: tuple[int, ...]) -> Chain:
        """The same layers with operands elsewhere."""
        return self if backs == self.backs else Chain(self.layers, backs)


def starts_of(chains: Sequence[Chain]) -> list[int]:
    """The place of the first layer of each chain, and behind the last one the number of layers."""
    return list(accumulate([chain.length for chain in chains], initial=0))


def merged(chains: Sequence[Chain], results: Collection[int]) -> tuple[Chain, ...]:
    """The same layers in as few chains as there can be. The layers at the places `results` end a chain."""
    starts = starts_of(chains)
    ends = set(results)
    for start, chain in zip(starts, chains, strict=False):
        if chain.backs != BEFORE:
            ends.update([start - back for back in chain.backs])
    runs: list[list[Chain]] = []
    for start, chain in zip(starts, chains, strict=False):
        if runs and chain.backs == BEFORE and start - 1 not in ends:
            runs[-1].append(chain)
        else:
            runs.append([chain])
    return tuple(_joined(run) for run in runs)


def _joined(run: Sequence[Chain]) -> Chain:
    if len(run) == 1:
        return run[0]
    return Chain(tuple([layer for chain in run for layer in chain.layers]), run[0].backs)
