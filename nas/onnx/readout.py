"""Write what follows the last layer of a head: its answer, how sure it is, and the memory of earlier heads.

The state of a batch is (N, K + 1): what the heads so far add up to, and last how many of them in a row named
the same class, 0 before the first head. K is the number of classes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import numpy as np

from nas.bundle import CONFIDENCE, LOGITS, NEXT_STATE, STATE, Readout
from nas.onnx.protos import FLOAT, add_node, add_tensor

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["READOUT", "own_logits", "write_readout"]

READOUT = "readout/"
"""How the names of all tensors begin that no layer of the network makes."""

_TINY = float(np.finfo(np.float32).tiny)  # whose logarithm is finite


def own_logits(readout: Readout) -> str:
    """The name that a head's own logits must have for `write_readout`."""
    return LOGITS if readout.combine == "last" else f"own/{LOGITS}"


def write_readout(proto: GraphProto, readout: Readout, *, exit: int, exits: int, classes: int) -> None:
    """Turn a head's own logits, (N, K), into the outputs of its read-out."""
    writer = _Writer(proto, classes)
    own, temperature = own_logits(readout), readout.temperature(exit)
    if readout.combine == "mean":
        total = writer.node("Add", writer.shares(own, temperature), writer.memory(slice(0, classes)))
        shares = writer.node("Mul", total, writer.constant("share", 1 / (exit + 1)))
        above_zero = writer.node("Max", shares, writer.constant("tiny", _TINY))
        writer.node("Log", above_zero, result=LOGITS)
    else:
        total = LOGITS
        if readout.combine == "product":
            above_zero = writer.node("Max", own, writer.constant("tiny", _TINY))
            power = writer.constant("power", (exit + 1) / exits)
            own = writer.node("Mul", writer.node("Log", above_zero), power)
        if readout.combine != "last":
            writer.node("Add", own, writer.memory(slice(0, classes)), result=LOGITS)
        shares = "" if readout.confidence == "patience" else writer.shares(LOGITS, temperature)
    count = writer.agreement(total) if readout.confidence == "patience" else ""
    writer.confidence(readout.confidence, shares, count=count, exits=exits)
    if readout.remembers:
        count = count or writer.memory(slice(classes, classes + 1))
        writer.node("Concat", total, count, result=NEXT_STATE, axis=1)


@final
class _Writer:
    """Writes nodes whose tensors are named by number."""

    def __init__(self, proto: GraphProto, classes: int) -> None:
        self._proto, self._classes = proto, classes
        self._memories: dict[int, str] = {}

    def node(self, op_type: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        result = result or f"{READOUT}{len(self._proto.node)}"
        add_node(self._proto, op_type, inputs, [result], **attributes)
        return result

    def constant(self, name: str, value: Any) -> str:
        return add_tensor(self._proto, f"{READOUT}{name}", value)

    def memory(self, part: slice) -> str:
        """Some columns of the state, (N, stop - start)."""
        if part.start not in self._memories:
            bounds = {"start": [part.start], "stop": [part.stop], "axis": [1]}
            names = [self.constant(f"{part.start}/{name}", value) for name, value in bounds.items()]
            self._memories[part.start] = self.node("Slice", STATE, *names)
        return self._memories[part.start]

    def shares(self, logits: str, temperature: float) -> str:
        """Probabilities, (N, K).

        A temperature of 1 is written like any other: what is measured before it is known is what ships.
        """
        cooled = self.node("Mul", logits, self.constant("cooling", 1 / temperature))
        return self.node("Softmax", cooled, axis=1)

    def agreement(self, total: str) -> str:
        """How many heads in a row named the class of `total`, (N, 1)."""
        before = self.memory(slice(0, self._classes))
        now, then = (self.node("ArgMax", values, axis=1) for values in (total, before))
        same = self.node("Cast", self.node("Equal", now, then), to=FLOAT)
        count = self.node("Mul", same, self.memory(slice(self._classes, self._classes + 1)))
        return self.node("Add", count, self.constant("one", 1.0))

    def confidence(self, kind: str, shares: str, *, count: str, exits: int) -> None:
        """How sure the answer is, (N,), from 0 to 1."""
        if kind == "max_probability":
            self.node("ReduceMax", shares, result=CONFIDENCE, axes=[1], keepdims=0)
        elif kind == "margin":
            self._margin(shares)
        elif kind == "entropy":
            above_zero = self.node("Max", shares, self.constant("least", _TINY))
            products = self.node("Mul", shares, self.node("Log", above_zero))
            total = self.node("ReduceSum", products, self.constant("axis", [1]), keepdims=0)
            scaled = self.node("Mul", total, self.constant("most", 1 / math.log(max(2, self._classes))))
            sure = self.node("Add", scaled, self.constant("certain", 1.0))
            self.node("Max", sure, self.constant("unsure", 0.0), result=CONFIDENCE)  # rounding may miss it
        else:
            others = self.node("Sub", count, self.constant("itself", 1.0))
            scaled = self.node("Mul", others, self.constant("of", 1 / max(1, exits - 1)))
            self.node("Squeeze", scaled, self.constant("column", [1]), result=CONFIDENCE)

    def _margin(self, shares: str) -> None:
        """The largest share less the second; of a single class, all of it."""
        if self._classes == 1:
            self.node("ReduceMax", shares, result=CONFIDENCE, axes=[1], keepdims=0)
            return
        top = f"{READOUT}{len(self._proto.node)}"
        two = self.constant("two", [2])
        add_node(self._proto, "TopK", [shares, two], [top, f"{top}/places"], axis=1)
        signs = self.node("Mul", top, self.constant("signs", [1.0, -1.0]))
        self.node("ReduceSum", signs, self.constant("axis", [1]), result=CONFIDENCE, keepdims=0)
