"""The network as a frozen value: a `Graph` of operations with shapes, which every other module reads.

A graph is a tuple of nodes in an order in which they can run. Each node is an `Op` at concrete shapes (a
`Layer`) and the positions of the nodes it reads. Shapes are `(C, H, W)` or `(C,)`, without the batch axis.
Exits count from 0.

Nodes are kept as chains, because a search builds thousands of graphs of which only a few are ever trained;
`graph.nodes` makes the named view of them when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

from nas.canonical import Structure, canonical_id, canonical_order, quick_id
from nas.chains import BEFORE, Chain, merged, starts_of
from nas.errors import SpaceError
from nas.op import Layer, Op, Shape
from nas.reach import feeds_of, pieces_of

__all__ = ["Graph", "Node", "Segment"]


@final
class Node(NamedTuple):
    """One layer of a graph: its dotted name and the positions, in `graph.nodes`, of what it reads."""

    name: str
    layer: Layer
    inputs: tuple[int, ...]

    @property
    def op(self) -> Op:
        return self.layer.op

    @property
    def shape(self) -> Shape:
        return self.layer.shape


@final
@dataclass(frozen=True)
class Segment:
    """A part of a graph that runs as one: `trunk_k` (between exits) or `head_k` (from features to logits).

    All three tuples hold positions in `graph.nodes`. `inputs` are made by earlier trunks (or are the image),
    `outputs` are read by later segments, or are the logits.
    """

    name: str
    nodes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@final
class Graph:
    """Layers in running order, what each reads, and one logits feature per exit, the first exit first.

    Nodes that no exit needs are dropped, so that an unused branch costs nothing (MSDNet's lazy evaluation).
    Build one through a `SearchSpace` or `nas.net.Net`.
    """

    chains: tuple[Chain, ...]
    operands: tuple[tuple[int, ...], ...]
    """For each chain the chains that its first layer reads."""
    chain_feeds: tuple[int, ...]
    """For each chain the exits that need it: bit k stands for exit k."""
    exits: tuple[int, ...]
    """Position of each exit's logits."""
    head_starts: tuple[int, ...]
    """Position of the first node of each exit's head."""

    def __init__(self, chains: Sequence[Chain], heads: Iterable[range], names: Sequence[str]) -> None:
        heads = tuple(heads)
        operands, feeds = _reach(chains, heads)
        if not all(feeds):
            chains, heads, names = _without_dead(chains, heads, names, feeds)
            operands, feeds = _reach(chains, heads)
        self.chains = tuple(chains)
        self.operands = tuple(operands)
        self.chain_feeds = tuple(feeds)
        self.exits = tuple(head[-1] for head in heads)
        self.head_starts = tuple(head[0] for head in heads)
        self._names = tuple(names)

    @staticmethod
    def of_layers(
        layers: Sequence[Layer],
        offsets: Sequence[tuple[int, ...]],
        heads: Iterable[range],
        names: Sequence[str],
    ) -> Graph:
        """The graph of single layers, of which layer `i` reads layers `i - offset`."""
        heads = tuple(heads)
        chains = [Chain.of(layer, backs) for layer, backs in zip(layers, offsets, strict=True)]
        ends = [*(head[-1] for head in heads), *(head[0] - 1 for head in heads)]
        return Graph(merged(chains, ends), heads, names)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return tuple([layer for chain in self.chains for layer in chain.layers])

    @cached_property
    def offsets(self) -> tuple[tuple[int, ...], ...]:
        """For each node how many places back its operands stand: node `i` reads nodes `i - offset`."""
        return tuple(
            [backs for chain in self.chains for backs in (chain.backs, *(BEFORE,) * (chain.length - 1))]
        )

    @cached_property
    def feeds(self) -> tuple[int, ...]:
        """For each node the exits that need it: bit k stands for exit k."""
        pairs = zip(self.chains, self.chain_feeds, strict=True)
        return tuple([mask for chain, mask in pairs for _ in chain.layers])

    @cached_property
    def id(self) -> str:
        """32 hexadecimal digits of the structure: networks built alike share them, whatever their names."""
        end = {stop - 1: chain for chain, stop in enumerate(starts_of(self.chains)[1:])}
        exits = [end[position] for position in self.exits]
        return quick_id(self.chains, self.operands, exits) or canonical_id(self._structure)

    @cached_property
    def canonical_order(self) -> tuple[int, ...]:
        """Positions in an order that depends on the structure only, not on the order of writing."""
        return canonical_order(self._structure)

    @cached_property
    def sums(self) -> Mapping[int, tuple[int, int]]:
        """MACs and parameters, added up over the nodes with equal `feeds`."""
        sums: dict[int, tuple[int, int]] = {}
        for chain, feeds in zip(self.chains, self.chain_feeds, strict=True):
            macs, params = sums.get(feeds, (0, 0))
            sums[feeds] = (macs + chain.macs, params + chain.params)
        return sums

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        if len(set(self._names)) < len(self._names):
            twice = next(name for name in self._names if self._names.count(name) > 1)
            raise SpaceError(
                f"layers must have different names, but {twice!r} stands twice; open a scope around each"
            )
        return tuple(
            Node(name, layer, tuple(position - back for back in backs))
            for position, (name, layer, backs) in enumerate(
                zip(self._names, self.layers, self.offsets, strict=True)
            )
        )

    @property
    def input_shape(self) -> Shape:
        return self.chains[0].layers[0].shape

    @property
    def num_classes(self) -> int:
        return self.chains[-1].layers[-1].shape[0]  # what nothing reads is an exit; all have equal classes

    @staticmethod
    def runs(feeds: int, exit: int) -> bool:
        """Whether a node with these `feeds` runs for an exit: it is part of trunk 0..exit or of that head."""
        if feeds >> exit & 1:
            return True
        shared = feeds & (feeds - 1)  # more than one exit needs it: the trunk of the earliest runs it for all
        return bool(shared and feeds & ((1 << exit) - 1))

    def segments(self) -> tuple[Segment, ...]:
        """The pieces `trunk_0, head_0, trunk_1, head_1, …`: running trunks 0..k and head k gives exit k."""
        names = [f"{kind}_{exit}" for exit in range(len(self.exits)) for kind in ("trunk", "head")]
        owner = [self._segment_of(position) for position in range(len(self.layers))]
        results = {2 * exit + 1: position for exit, position in enumerate(self.exits)}
        return tuple(map(Segment, names, *pieces_of(self.offsets, owner, results)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        heads, other_heads = (self.exits, self.head_starts), (other.exits, other.head_starts)
        return self.id == other.id and heads == other_heads and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return (
            f"Graph(id={self.id[:12]}, input={self.input_shape}, nodes={len(self.layers)}, "
            f"exits={len(self.exits)})"
        )

    @property
    def _structure(self) -> Structure:
        joins = [position for position, backs in enumerate(self.offsets) if len(backs) > 1]
        return Structure(
            tokens=[layer.token for layer in self.layers],
            offsets=self.offsets,
            swappable={position for position in joins if self.layers[position].op.commutative},
            weighted=[position for position, layer in enumerate(self.layers) if layer.params],
            exits=self.exits,
        )

    def _segment_of(self, position: int) -> int:
        feeds = self.feeds[position]
        exit = (feeds & -feeds).bit_length() - 1
        alone = feeds == 1 << exit
        last = exit == len(self.exits) - 1
        return 2 * exit + (alone and (not last or self.head_starts[exit] <= position))


def _reach(chains: Sequence[Chain], heads: Sequence[range]) -> tuple[list[tuple[int, ...]], list[int]]:
    """For each chain the chains it reads, and the exits that need it, as bits."""
    starts = starts_of(chains)
    end = {stop - 1: chain for chain, stop in enumerate(starts[1:])}
    operands = [
        (number - 1,) if chain.backs == BEFORE else tuple([end[start - back] for back in chain.backs])
        for number, (start, chain) in enumerate(zip(starts, chains, strict=False))
    ]
    return operands, feeds_of(operands, [end[head[-1]] for head in heads])


def _without_dead(
    chains: Sequence[Chain], heads: Sequence[range], names: Sequence[str], feeds: Sequence[int]
) -> tuple[list[Chain], tuple[range, ...], list[str]]:
    """The same without the chains that no exit needs."""
    starts = starts_of(chains)
    moved: dict[int, int] = {}
    for start, chain, mask in zip(starts, chains, feeds, strict=False):
        if mask:
            moved |= {start + step: len(moved) + step for step in range(chain.length)}
    if 0 not in moved:
        raise SpaceError("every network must read its image, but no exit depends on it; use net.input")
    alive = [
        chain.at(tuple([moved[start] - moved[start - back] for back in chain.backs]))
        for start, chain, mask in zip(starts, chains, feeds, strict=False)
        if mask
    ]
    kept = [
        range(min(moved[place] for place in head if place in moved), moved[head[-1]] + 1) for head in heads
    ]
    return alive, tuple(kept), [names[position] for position in moved]
