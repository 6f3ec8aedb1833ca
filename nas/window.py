"""Sizes of what a sliding window leaves of a feature."""

from __future__ import annotations

from nas.errors import SpaceError
from nas.op import Shape

__all__ = ["image_shape", "output_size", "pooled_shape"]

Pair = tuple[int, int]


def image_shape(reader: str, *inputs: Shape) -> Shape:
    """The one input's shape, which must be `(C, H, W)`; `reader` is who needs it so."""
    (x,) = inputs
    if len(x) != 3:
        raise SpaceError(f"{reader} must read a feature (C, H, W), but got {x}")
    return x


def output_size(x: Shape, kernel_size: Pair, stride: Pair, padding: Pair) -> Pair:
    """Height and width after a sliding window: `floor((size + 2 padding - kernel) / stride) + 1`."""
    if min(*kernel_size, *stride) < 1 or min(padding) < 0:
        raise SpaceError(f"a window must be positive, but got {kernel_size=}, {stride=}, {padding=}")
    height, width = (
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(x[1:], kernel_size, stride, padding, strict=True)
    )
    if height < 1 or width < 1:
        raise SpaceError(
            f"a feature must not vanish, but a window of {kernel_size} leaves nothing of {x[1:]}; "
            "use larger images"
        )
    return height, width


def pooled_shape(kernel_size: int, stride: int, padding: int, *inputs: Shape) -> Shape:
    """Shape after a square pooling window."""
    x = image_shape("a pool", *inputs)
    if 2 * padding > kernel_size:
        raise SpaceError(f"padding must be at most half the window, but got {padding} for {kernel_size}")
    return (x[0], *output_size(x, (kernel_size,) * 2, (stride,) * 2, (padding,) * 2))
