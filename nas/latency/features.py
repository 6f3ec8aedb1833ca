"""What of a network decides how long it runs, as sums over its layers.

Time follows a layer's multiplications, the values it reads and writes, and the turns of its loops, which are
the multiplications over the length of the innermost one. Each kind of layer has factors of its own, for
runtimes have a routine for each: pointwise, depthwise, grouped and other convolutions, strided or not. They
keep channels in blocks of as many as a vector of the processor holds, `lanes`, pad them to that, and fall
back to a slow routine where channels are no multiple of 4, as ONNX Runtime does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache

from nas.chains import BEFORE, Chain
from nas.graph import Graph
from nas.op import Layer, Shape
from nas.ops import Activation, BatchNorm, Conv2d, Dropout, Input, Linear

__all__ = ["chain_features", "layer_features", "running_chains", "spilled"]

_ALIGNMENT = 4  # channels that are no multiple of it are not kept in blocks
_CACHES = tuple(2**power for power in range(20, 25))


def running_chains(graph: Graph, exit: int) -> Iterator[tuple[Chain, bool]]:
    """The chains that run for an exit, and whether the first layer of each is fused with that before it."""
    before: Layer | None = None
    for chain, feeds in zip(graph.chains, graph.chain_feeds, strict=True):
        if graph.runs(feeds, exit):
            yield chain, chain.backs == BEFORE and before is not None and _fuses(before)
        before = chain.layers[-1]


def chain_features(chain: Chain, lanes: int, *, fused: bool) -> dict[str, float]:
    """Amounts by name of all layers of a chain, for vectors that hold `lanes` values."""
    amounts: dict[str, float] = {}
    for _, features in layer_features(chain, lanes, fused=fused):
        for name, amount in features.items():
            amounts[name] = amounts.get(name, 0.0) + amount
    return amounts


def layer_features(chain: Chain, lanes: int, *, fused: bool) -> Iterator[tuple[Layer, dict[str, float]]]:
    """The same of each layer by itself."""
    for layer in chain.layers:
        yield layer, dict(_layer_features(layer, lanes, fused=fused))
        fused = _fuses(layer)


def spilled(weight_bytes: int) -> dict[str, float]:
    """Bytes of a network's weights beyond the sizes that caches have: these are fetched again each time."""
    return {
        f"weights beyond {size >> 20} MiB": float(weight_bytes - size)
        for size in _CACHES
        if weight_bytes > size
    }


def _layer_features(layer: Layer, lanes: int, *, fused: bool) -> Iterator[tuple[str, float]]:
    op, out = layer.op, layer.shape
    if isinstance(op, BatchNorm | Dropout | Input) and (fused or not isinstance(op, BatchNorm)):
        return  # gone once the network is exported
    if isinstance(op, Conv2d):
        yield from _conv_features(op, layer, lanes)
        return
    if isinstance(op, Activation):
        yield f"{op.kind}{' fused' if fused else ''}", math.prod(out)
        return
    kind = type(op).__name__
    if len(out) == 3 and any(shape[0] % lanes for shape in (*layer.in_shapes, out)):
        kind += " uneven"
    yield f"{kind}: layers", 1.0
    yield f"{kind}: written", math.prod(out)
    yield f"{kind}: read", sum(map(math.prod, layer.in_shapes))
    if layer.macs:
        yield f"{kind}: macs", layer.macs


def _conv_features(op: Conv2d, layer: Layer, lanes: int) -> Iterator[tuple[str, float]]:
    """Those of a convolution, with channels as the runtime pads them and without taps outside the image.

    Kernels of all sizes share most factors, so that a few networks of each are enough.
    """
    kind, ins, outs = _routine(op, layer.in_shapes[0][0], lanes)
    height, width = layer.shape[1:]
    per_group = 1 if op.groups == layer.in_shapes[0][0] else ins // op.groups
    macs = outs * per_group * _taps(layer.in_shapes[0][1:], op.kernel_size, op.stride, op.padding)
    for name in dict.fromkeys((kind, _family(kind))):
        yield f"{name}: layers", 1.0
        yield f"{name}: macs", macs
        yield f"{name}: macs/width", macs / width
    yield f"{name}: macs/size", macs / (height * width)
    yield f"{name}: macs/in", macs / per_group
    yield f"{name}: macs/out", macs / outs
    yield f"{name}: written", outs * height * width
    yield f"{name}: read", ins * math.prod(layer.in_shapes[0][1:])


def _family(kind: str) -> str:
    """The kind whatever its kernel size; a kernel of one row or column is a family of its own."""
    if re.search(r" (1x\d+|\d+x1)\b", kind):
        kind = kind.replace("conv", "separable")
    return re.sub(r" \d+(x\d+)?", "", kind)


def _routine(op: Conv2d, in_channels: int, lanes: int) -> tuple[str, int, int]:
    """The routine that a runtime has for a convolution; its input and output channels there."""
    out_channels = op.out_channels
    name = " strided" if max(op.stride) > 1 else ""
    if op.groups == in_channels == out_channels > 1:
        name = f"depthwise {max(op.kernel_size)}{name}"
        even = out_channels % _ALIGNMENT == 0
    elif op.groups > 1:
        even = in_channels // op.groups % lanes == out_channels // op.groups % lanes == 0
        return f"grouped{name}{'' if even else ' uneven'}", in_channels, out_channels
    else:
        size = "x".join(map(str, op.kernel_size))
        name = f"{'pointwise' if size == '1x1' else f'conv {size}'}{name}"
        if in_channels < lanes:  # read as it is, without padding
            return f"{name} narrow", in_channels, _padded(out_channels, lanes)
        even = in_channels % _ALIGNMENT == 0
    if not even:
        return f"{name} uneven", in_channels, out_channels
    return name, _padded(in_channels, lanes), _padded(out_channels, lanes)


def _padded(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes


@lru_cache(maxsize=1 << 12)
def _taps(size: Shape, kernel: Shape, stride: Shape, padding: Shape) -> int:
    """Products of one input and one output channel: those of the padding are not computed."""
    return math.prod(map(_taps_along, size, kernel, stride, padding))


def _taps_along(size: int, kernel: int, stride: int, padding: int) -> int:
    places = range(-padding, size + padding - kernel + 1, stride)
    return sum(min(place + kernel, size) - max(place, 0) for place in places)


def _fuses(layer: Layer) -> bool:
    """Whether runtimes do what follows along with this layer."""
    return isinstance(layer.op, Conv2d | Linear | BatchNorm)
