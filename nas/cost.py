"""What a network costs before it is trained: multiply-accumulates, parameters, peak memory, per exit.

Tools differ in what they count; all agree on convolutions and linear layers, and these are `Cost.macs`. 1
MAC = 2 FLOPs. `CONVENTIONS` is the small table of what fvcore and thop add to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from nas.graph import Graph
from nas.op import Layer, Op
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
        return _cost(graph, {feeds for feeds in set(graph.chain_feeds) if graph.runs(feeds, exit)})

    @staticmethod
    def total(graph: Graph) -> Cost:
        """Cost with all heads: the worst case of a cascade."""
        return _cost(graph, set(graph.chain_feeds))

    def to_json(self) -> dict[str, int]:
        return {"macs": self.macs, "params": self.params, "peak_bytes": self.peak_bytes}


def total_ops(graph: Graph, convention: str, exit: int | None = None) -> int:
    """Operations as `fvcore` or `thop` totals them: of all exits, or up to one with that head only."""
    extra = CONVENTIONS[convention]
    return sum(
        layer.macs + (extra[type(layer.op)](layer) if type(layer.op) in extra else 0)
        for layer, feeds in zip(graph.layers, graph.feeds, strict=True)
        if exit is None or graph.runs(feeds, exit)
    )


def _cost(graph: Graph, running: set[int]) -> Cost:
    sums = [graph.sums[feeds] for feeds in running]
    return Cost(sum(macs for macs, _ in sums), sum(params for _, params in sums), _peak_bytes(graph, running))


def _peak_bytes(graph: Graph, running: set[int]) -> int:
    """Largest sum of live features under the better of the two schedules described at `Cost`."""
    written = [number for number, feeds in enumerate(graph.chain_feeds) if feeds in running]
    readers = [0] * len(graph.chains)
    for number in written:
        for operand in graph.operands[number]:
            readers[operand] += 1
    roots = [number for number in written if not readers[number]]
    peak = _peak_of(graph, written, list(readers))
    return _peak_of(graph, _depth_first(graph, roots), readers, most=peak)


def _peak_of(graph: Graph, schedule: Iterable[int], readers: list[int], most: float = math.inf) -> int:
    """Largest sum of live features when chains run in this order, or `most` if that is less.

    `readers` are counted down to 0. A schedule that comes to `most` is not followed further: mostly that is
    soon.
    """
    chains = graph.chains
    live = peak = 0
    for number in schedule:
        chain = chains[number]
        live += chain.first_bytes
        freed = reused = 0
        for operand in graph.operands[number]:
            readers[operand] -= 1
            if not readers[operand]:
                size = chains[operand].last_bytes
                freed += size
                if size == chain.first_bytes and chain.layers[0].op.in_place:
                    reused = size
        rest = live - freed - chain.first_bytes
        peak = max(peak, live - reused, rest + chain.between_bytes)
        if peak >= most:
            return int(most)
        live = rest + chain.last_bytes
    return peak


def _depth_first(graph: Graph, roots: Iterable[int]) -> Iterator[int]:
    """The chains that lead to the roots in depth-first order, the last operand of every join first."""
    seen: set[int] = set()
    for root in roots:
        stack = [root]
        while stack:
            number = stack[-1]
            waiting = [operand for operand in graph.operands[number] if operand not in seen]
            if waiting:
                stack.extend(waiting)
            else:
                stack.pop()
                if number not in seen:
                    seen.add(number)
                    yield number
