"""The network as a frozen value: a `Graph` of operations with shapes, which every other module reads.

A graph is a tuple of nodes in an order in which they can run. Each node is an `Op` at concrete shapes (a
`Layer`) and the positions of the nodes it reads. Shapes are `(C, H, W)` or `(C,)`, without the batch axis.
Exits count from 0.

Nodes are kept in columns (`layers`, `offsets`, …) because a search builds thousands of graphs of which only
a few are ever trained; `graph.nodes` makes the named view of them when it is asked for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import ClassVar, NamedTuple, final

from nas.canonical import Structure, canonical_id, canonical_order
from nas.errors import SpaceError
from nas.reach import chains_of, feeds_of, pieces_of, renumbered

__all__ = ["Graph", "Layer", "Node", "Op", "Segment", "Shape"]

Shape = tuple[int, ...]


class Op(ABC):
    """A kind of operation with its settings: a frozen dataclass of pure methods, without weights.

    A layer of your own is one final subclass, registered with `nas.model.torch_layer` for training and with
    `nas.onnx.onnx_nodes` for export.
    """

    commutative: ClassVar[bool] = False
    """Operands may be swapped without changing the network."""
    in_place: ClassVar[bool] = False
    """The result can overwrite the first operand when nothing else reads that one."""

    element_bytes: ClassVar[int] = 4
    """Bytes of one element of the result: float32."""

    @abstractmethod
    def out_shape(self, *inputs: Shape) -> Shape:
        """Shape of the result; `SpaceError` where these inputs cannot be joined or a feature would vanish."""

    def weights(self, *inputs: Shape) -> Mapping[str, Shape]:
        """Shapes of the trained tensors, named as torch names them."""
        return {}

    def buffers(self, *inputs: Shape) -> Mapping[str, Shape]:
        """Shapes of the stored tensors that are not trained by gradients."""
        return {}

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates of convolutions and linear layers per image; 0 for everything else."""
        return 0


@final
@dataclass(frozen=True, eq=False)
class Layer:
    """An op at concrete input shapes, with all that follows from them. Made once by `Layer.of` and shared."""

    op: Op
    in_shapes: tuple[Shape, ...]
    shape: Shape
    weights: Mapping[str, Shape]
    buffers: Mapping[str, Shape]
    macs: int
    params: int
    out_bytes: int
    """Bytes of the result for one image."""
    overwrites: bool
    """Whether it is elementwise on one operand: no memory of its own where nothing else reads that one."""
    token: bytes
    """16 bytes that stand for the op and its input shapes in a canonical id."""

    def __reduce__(self) -> tuple[object, ...]:
        """A copy is the same layer, for layers compare by identity."""
        return Layer.of, (self.op, self.in_shapes)

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def of(op: Op, in_shapes: tuple[Shape, ...]) -> Layer:
        shape = op.out_shape(*in_shapes)
        weights = op.weights(*in_shapes)
        text = f"{type(op).__module__}.{op!r}{in_shapes}"
        return Layer(
            op=op,
            in_shapes=in_shapes,
            shape=shape,
            weights=weights,
            buffers=op.buffers(*in_shapes),
            macs=op.macs(*in_shapes),
            params=sum(map(math.prod, weights.values())),
            out_bytes=math.prod(shape) * op.element_bytes,
            overwrites=op.in_place and len(in_shapes) == 1,
            token=blake2b(text.encode(), digest_size=16).digest(),
        )


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
    """A part of a graph that runs as one piece: `trunk_k` (between exits) or `head_k` (from features to
    logits).

    All three tuples hold positions in `graph.nodes`. `inputs` are made by earlier trunks (or are the image),
    `outputs` are read by later segments, or are the logits.
    """

    name: str
    nodes: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@final
class NameSpan(NamedTuple):
    """Names of consecutive nodes: a scope's prefix and the names within it."""

    prefix: str
    names: tuple[str, ...]


@final
class Graph:
    """A network: layers in running order, what each reads, and one logits feature per exit, cheapest exit
    first.

    Nodes that no exit needs are dropped, so that an unused branch costs nothing (MSDNet's lazy evaluation).
    Build one through a `SearchSpace` or `nas.net.Net`.
    """

    layers: tuple[Layer, ...]
    offsets: tuple[tuple[int, ...], ...]
    """For each node how many places back its operands stand: node `i` reads nodes `i - offset`."""
    exits: tuple[int, ...]
    """Position of each exit's logits."""
    head_starts: tuple[int, ...]
    """Position of the first node of each exit's head."""
    feeds: tuple[int, ...]
    """For each node the exits that need it: bit k stands for exit k."""

    def __init__(
        self,
        layers: Sequence[Layer],
        offsets: Sequence[tuple[int, ...]],
        heads: Iterable[range],
        names: Sequence[NameSpan],
    ) -> None:
        heads = tuple(heads)
        feeds = feeds_of(offsets, [head[-1] for head in heads])
        if not all(feeds):
            if not feeds[0]:
                raise SpaceError(
                    "every network must read its image, but no exit depends on it; use net.input"
                )
            alive = [position for position, mask in enumerate(feeds) if mask]
            flat = [span.prefix + name for span in names for name in span.names]
            layers = [layers[position] for position in alive]
            names = [NameSpan("", tuple(flat[position] for position in alive))]
            offsets, heads = renumbered(offsets, heads, alive)
            feeds = [feeds[position] for position in alive]
        self.layers = tuple(layers)
        self.offsets = tuple(offsets)
        self.exits = tuple(head[-1] for head in heads)
        self.head_starts = tuple(head[0] for head in heads)
        self.feeds = tuple(feeds)
        self._names = tuple(names)

    @cached_property
    def id(self) -> str:
        """32 hexadecimal digits of the structure: networks built alike share them, whatever their names."""
        return canonical_id(self._structure)

    @cached_property
    def canonical_order(self) -> tuple[int, ...]:
        """Positions in an order that depends on the structure only, not on the order of writing."""
        return canonical_order(self._structure)

    @cached_property
    def chains(self) -> tuple[tuple[int, int], ...]:
        """Ranges of positions in which each node reads only the one before, which nothing else reads."""
        return tuple(chains_of(self.offsets, self.exits))

    @cached_property
    def sums(self) -> Mapping[int, tuple[int, int]]:
        """MACs and parameters, added up over the nodes with equal `feeds`."""
        sums: dict[int, tuple[int, int]] = {}
        for layer, feeds in zip(self.layers, self.feeds, strict=True):
            if layer.params or layer.macs:
                macs, params = sums.get(feeds, (0, 0))
                sums[feeds] = (macs + layer.macs, params + layer.params)
        return sums

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        names = [span.prefix + name for span in self._names for name in span.names]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SpaceError(
                f"layers must have different names, but {twice!r} stands twice; open a scope around each"
            )
        return tuple(
            Node(name, layer, tuple(position - back for back in backs))
            for position, (name, layer, backs) in enumerate(
                zip(names, self.layers, self.offsets, strict=True)
            )
        )

    @property
    def input_shape(self) -> Shape:
        return self.layers[0].shape

    @property
    def num_classes(self) -> int:
        return self.layers[self.exits[-1]].shape[0]

    @staticmethod
    def runs(feeds: int, exit: int) -> bool:
        """Whether a node with these `feeds` runs when an exit is asked: it is part of trunk 0..exit or of
        that head."""
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
            chains=self.chains,
            exits=self.exits,
        )

    def _segment_of(self, position: int) -> int:
        feeds = self.feeds[position]
        exit = (feeds & -feeds).bit_length() - 1
        alone = feeds == 1 << exit
        last = exit == len(self.exits) - 1
        return 2 * exit + (alone and (not last or self.head_starts[exit] <= position))
