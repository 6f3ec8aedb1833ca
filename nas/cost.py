"""What a network costs before it is trained: multiply-accumulates, parameters and peak activation memory,
per exit.

Tools differ in what they count; all agree on convolutions and linear layers, and these are `Cost.macs`. 1
MAC = 2 FLOPs. `CONVENTIONS` is the small table of what fvcore and thop add to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import final

from nas.graph import Graph, Layer, Op
from nas.ops import AvgPool, BatchNorm, GlobalAvgPool

__all__ = ["CONVENTIONS", "Cost", "total_ops"]

CONVENTIONS: Mapping[str, Mapping[type[Op], Callable[[Layer], int]]] = MappingProxyType(
    {
        "fvcore": {
            BatchNorm: lambda layer: 2 * math.prod(layer.shape),
            GlobalAvgPool: lambda layer: math.prod(layer.in_shapes[0]),
        },
        "thop": {
            BatchNorm: lambda layer: 4 * math.prod(layer.shape),
            GlobalAvgPool: lambda layer: math.prod(layer.in_shapes[0]) + layer.shape[0],
            AvgPool: lambda layer: math.prod(layer.shape),
        },
    }
)
"""What each tool counts beside convolutions and linear layers, in inference. Both call their totals FLOPs;
both count a multiply-add as one."""


@final
@dataclass(frozen=True)
class Cost:
    """Costs of running a network once on one image: trunk 0 to `exit`, and heads.

    `peak_bytes` is the largest sum of live features (float32; the raw image in bytes), weights not counted,
    under the better of two schedules: layers in the order in which the space writes them, and depth-first,
    the last operand of every join first. A feature lives until its last reader has run. Normalization,
    activations, dropout, sums and gates overwrite an operand of their own size that nothing reads later.
    """

    macs: int
    params: int
    peak_bytes: int

    @property
    def flops(self) -> int:
        """2 FLOPs per multiply-accumulate."""
        return 2 * self.macs

    @staticmethod
    def of(graph: Graph, exit: int | None = None) -> Cost:
        """Cost up to one exit, by default the last, running that head only."""
        last = len(graph.exits) - 1
        exit = last if exit is None else exit
        if not 0 <= exit <= last:
            raise IndexError(f"exit must be 0 to {last}, but got {exit}")
        return _cost(graph, {feeds for feeds in set(graph.feeds) if graph.runs(feeds, exit)})

    @staticmethod
    def total(graph: Graph) -> Cost:
        """Cost with all heads: the worst case of a cascade."""
        return _cost(graph, set(graph.feeds))

    def to_json(self) -> dict[str, int]:
        return {"macs": self.macs, "params": self.params, "peak_bytes": self.peak_bytes}


def total_ops(graph: Graph, convention: str, exit: int | None = None) -> int:
    """Operations as `fvcore` or `thop` totals them: of the whole network, or up to one exit with that head only."""
    extra = CONVENTIONS[convention]
    return sum(
        layer.macs + (extra[type(layer.op)](layer) if type(layer.op) in extra else 0)
        for layer, feeds in zip(graph.layers, graph.feeds, strict=True)
        if exit is None or graph.runs(feeds, exit)
    )


def _cost(graph: Graph, running: set[int]) -> Cost:
    sums = [graph.sums[feeds] for feeds in running if feeds in graph.sums]
    return Cost(sum(macs for macs, _ in sums), sum(params for _, params in sums), _peak_bytes(graph, running))


def _peak_bytes(graph: Graph, running: set[int]) -> int:
    """Largest sum of live features under the better of the two schedules described at `Cost`."""
    buffers = _buffers(graph, running)
    written = list(buffers)
    peak = _peak_of(buffers, written)
    if all(before in buffers[after].operands for before, after in pairwise(written)):
        return peak  # each buffer reads the one before: there is no other order
    return min(peak, _peak_of(buffers, _depth_first(buffers)))


@final
class _Buffer:
    """A feature in memory of its own: its size, what it is made from, and how often it is read."""

    __slots__ = ("in_place", "operands", "readers", "size")

    def __init__(self, size: int, operands: list[int], in_place: bool, readers: int) -> None:
        self.size = size
        self.operands = operands
        self.in_place = in_place
        self.readers = readers


def _buffers(graph: Graph, running: set[int]) -> dict[int, _Buffer]:
    """The running nodes that need memory, by position: those that overwrite their only operand are merged
    with it."""
    feeds = graph.feeds
    readers = [0] * len(feeds)
    for position, backs in enumerate(graph.offsets):
        if feeds[position] in running:
            for back in backs:
                readers[position - back] += 1
    owner = list(range(len(feeds)))
    buffers: dict[int, _Buffer] = {}
    for position, (layer, backs) in enumerate(zip(graph.layers, graph.offsets, strict=True)):
        if feeds[position] not in running:
            continue
        if layer.overwrites and readers[position - backs[0]] == 1:
            merged = owner[position] = owner[position - backs[0]]
            buffers[merged].readers = readers[position]
        else:
            operands = [owner[position - back] for back in backs]
            buffers[position] = _Buffer(layer.out_bytes, operands, layer.op.in_place, readers[position])
    return buffers


def _peak_of(buffers: Mapping[int, _Buffer], schedule: Sequence[int]) -> int:
    """Largest sum of live buffers when they are made in this order."""
    waiting = {position: buffer.readers for position, buffer in buffers.items()}
    live = peak = 0
    for position in schedule:
        buffer = buffers[position]
        live += buffer.size
        freed = reused = 0
        for operand in buffer.operands:
            waiting[operand] -= 1
            if not waiting[operand]:
                size = buffers[operand].size
                freed += size
                if buffer.in_place and size == buffer.size:
                    reused = size
        peak = max(peak, live - reused)
        live -= freed
    return peak


def _depth_first(buffers: Mapping[int, _Buffer]) -> list[int]:
    """The buffers in depth-first order from the last one, the last operand of every join first."""
    schedule: list[int] = []
    seen: set[int] = set()
    for root in buffers:
        stack = [root] if not buffers[root].readers else []
        while stack:
            position = stack[-1]
            waiting = [operand for operand in buffers[position].operands if operand not in seen]
            if waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                if position not in seen:
                    seen.add(position)
                    schedule.append(position)
    return schedule
