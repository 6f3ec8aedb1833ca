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
from operator import add
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
    the last operand of every join first. A feature lives until its last reader has run. Batch normalization,
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
    """Operations as `fvcore` or `thop` totals them: of the whole network, or up to one exit with that head
    only."""
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
    runs = _runs(graph, running)
    written = list(runs)
    peak = _peak_of(runs, written)
    if all(before in runs[after].operands for before, after in pairwise(written)):
        return peak  # each run reads the one before: there is no other order
    return min(peak, _peak_of(runs, _depth_first(runs)))


@final
class _Run:
    """A chain of layers, made one after another: a step of a schedule.

    `first` and `last` are the bytes of the first and the last feature, `between` the most that two neighbors
    need together. `operands` are the runs that the first one reads; `readers` counts who reads the last one.
    """

    __slots__ = ("between", "first", "in_place", "last", "operands", "readers")

    def __init__(self, layers: Sequence[Layer], operands: list[int]) -> None:
        first, *others = layers
        sizes = [first.out_bytes, *[layer.out_bytes for layer in others if not layer.overwrites]]
        self.first, self.last = sizes[0], sizes[-1]
        self.between = max(map(add, sizes, sizes[1:]), default=0)
        self.in_place = first.op.in_place
        self.operands = operands
        self.readers = 0


def _runs(graph: Graph, running: set[int]) -> dict[int, _Run]:
    """The running chains, keyed by the position of their last node."""
    runs: dict[int, _Run] = {}
    for start, stop in graph.chains:
        if graph.feeds[start] in running:
            operands = [start - back for back in graph.offsets[start]]
            runs[stop - 1] = _Run(graph.layers[start:stop], operands)
            for operand in operands:
                runs[operand].readers += 1
    return runs


def _peak_of(runs: Mapping[int, _Run], schedule: Sequence[int]) -> int:
    """Largest sum of live features when the runs are made in this order."""
    waiting = {position: run.readers for position, run in runs.items()}
    live = peak = 0
    for position in schedule:
        run = runs[position]
        live += run.first
        freed = reused = 0
        for operand in run.operands:
            waiting[operand] -= 1
            if not waiting[operand]:
                size = runs[operand].last
                freed += size
                if run.in_place and size == run.first:
                    reused = size
        peak = max(peak, live - reused)
        live -= freed + run.first
        peak = max(peak, live + run.between)
        live += run.last
    return peak


def _depth_first(runs: Mapping[int, _Run]) -> list[int]:
    """The runs in depth-first order from the last one, the last operand of every join first."""
    schedule: list[int] = []
    seen: set[int] = set()
    for root in runs:
        stack = [root] if not runs[root].readers else []
        while stack:
            position = stack[-1]
            waiting = [operand for operand in runs[position].operands if operand not in seen]
            if waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                if position not in seen:
                    seen.add(position)
                    schedule.append(position)
    return schedule
