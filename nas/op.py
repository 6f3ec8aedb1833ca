"""Operations without weights, and layers: operations at concrete shapes, with all that follows from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import ClassVar, final

__all__ = ["Layer", "Op", "Shape"]

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
