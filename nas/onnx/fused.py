"""Write a whole network with all its exits as one ONNX file that stops by itself.

ONNX Runtime runs every node of a graph whichever output is asked, but of an `If` only the branch taken. So
what follows an exit stands in the branch of not having stopped there, and a head in the branch of being
needed. No segment is there twice, and its weights lie in its own branch, where the runtime can lay them out
for the processor; in the outermost graph they keep it from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from nas.bundle import (
    CONFIDENCE,
    EXIT,
    IMAGE,
    LOGITS,
    MAX_EXIT,
    NEXT_STATE,
    STATE,
    THRESHOLDS,
    Readout,
)
from nas.onnx.protos import BOOL, FLOAT, INT64, UINT8, add_node, add_tensor, declare, empty_model
from nas.op import Shape

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["fused_model"]


def fused_model(
    segments: Mapping[str, bytes], readout: Readout, input_shape: Shape, num_classes: int
) -> bytes:
    """One file of the segment files `trunk_k` and `head_k`, of batch 1, for a batch takes one branch.

    Inputs: `x` (1, C, H, W), raw bytes; `max_exit`, int64, a scalar; `thresholds`, float32, one per exit but
    the last. Outputs: `logits` (1, K), and `exit`, int64, a scalar, which made them. An exit below
    `max_exit` answers where its confidence is at least its threshold. One with a threshold above 1 is not
    even asked. Whatever `max_exit` is beyond the exits there are counts as the nearest of them.
    """
    exits = sum(name.startswith("head_") for name in segments)
    model = empty_model("fused")
    main = model.graph
    for interface, name, kind, shape in (
        (main.input, IMAGE, UINT8, (1, *input_shape)),
        (main.input, MAX_EXIT, INT64, ()),
        (main.input, THRESHOLDS, FLOAT, (exits - 1,)),
        (main.output, LOGITS, FLOAT, (1, num_classes)),
        (main.output, EXIT, INT64, ()),
    ):
        declare(interface, name, kind, shape)
    writer = _Writer(main, _parsed(segments), readout, classes=num_classes)
    writer.rest(main, 0, (LOGITS, EXIT))
    data: bytes = model.SerializeToString()
    return data


def _parsed(segments: Mapping[str, bytes]) -> dict[str, GraphProto]:
    from onnx import load_from_string

    return {name: load_from_string(data).graph for name, data in segments.items()}


@final
class _Conditions(NamedTuple):
    """For each exit but the last two tensors of one value."""

    limits: Sequence[str]
    """The confidence at which it answers: its threshold, or at the greatest exit allowed less than any."""
    needed: Sequence[str]
    """Whether it is asked at all."""


@final
class _Writer:
    """Writes what follows from an exit on; the name of a tensor is unique over all branches."""

    def __init__(
        self, main: GraphProto, segments: Mapping[str, GraphProto], readout: Readout, *, classes: int
    ) -> None:
        exits = sum(name.startswith("head_") for name in segments)
        self._segments, self._readout = segments, readout
        self._exits, self._classes = exits, classes
        self._given = _conditions(main, exits - 1)

    def rest(self, proto: GraphProto, exit: int, results: Sequence[str], *, state: str = "") -> None:
        """Trunk, head and all that comes after them; `results` name the logits and the exit they are of."""
        self._copy(proto, f"trunk_{exit}", {})
        if self._readout.remembers and not exit:
            state = add_tensor(proto, f"exit_{exit}/{STATE}", np.zeros((1, self._classes + 1)))
        if exit == self._exits - 1:
            logits, *_ = self._head(proto, exit, state)
            self._answer(proto, exit, logits, results)
            return
        logits, go_on, *after = self._asked(proto, exit, state)
        names = [
            [f"exit_{exit}/{branch}/{result}" for result in (LOGITS, EXIT)] for branch in ("then", "else")
        ]
        then, otherwise = _branch("then"), _branch("else")
        self.rest(then, exit + 1, names[0], state="".join(after))
        self._answer(otherwise, exit, logits, names[1])
        kinds = ((FLOAT, (1, self._classes)), (INT64, ()))
        _if(proto, go_on, results, ((then, names[0]), (otherwise, names[1])), kinds=kinds)

    def _answer(self, proto: GraphProto, exit: int, logits: str, results: Sequence[str]) -> None:
        """The logits and the number of the exit; what a branch gives must be made in it."""
        number = add_tensor(proto, f"exit_{exit}/number", np.int64(exit))
        _copies(proto, results, (logits, number))

    def _asked(self, proto: GraphProto, exit: int, state: str) -> list[str]:
        """Logits, whether they are not the answer, and any state: the head's, where that is needed."""
        if self._readout.needs_all_heads:
            return self._decided(proto, exit, state)
        then, otherwise = _branch("then"), _branch("else")
        made = self._decided(then, exit, state)
        none = add_tensor(otherwise, f"exit_{exit}/none", np.zeros((1, self._classes)))
        yes = add_tensor(otherwise, f"exit_{exit}/yes", np.ones(1, bool))
        unasked = [f"exit_{exit}/unasked/{number}" for number in range(len(made))]
        _copies(otherwise, unasked, [none, yes, state][: len(made)])
        results = [f"exit_{exit}/asked/{number}" for number in range(len(made))]
        kinds = ((FLOAT, (1, self._classes)), (BOOL, (1,)), (FLOAT, (1, self._classes + 1)))
        branches = ((then, made), (otherwise, unasked))
        _if(proto, self._given.needed[exit], results, branches, kinds=kinds[: len(made)])
        return results

    def _decided(self, proto: GraphProto, exit: int, state: str) -> list[str]:
        logits, confidence, *after = self._head(proto, exit, state)
        go_on = f"exit_{exit}/go_on"
        # A confidence that is no number is not below any limit: a broken network ends here.
        add_node(proto, "Less", [confidence, self._given.limits[exit]], [go_on])
        return [logits, go_on, *after]

    def _head(self, proto: GraphProto, exit: int, state: str) -> list[str]:
        made = [LOGITS, CONFIDENCE, *([NEXT_STATE] if self._readout.remembers else [])]
        renamed = {name: f"head_{exit}/{name}" for name in made}
        self._copy(proto, f"head_{exit}", renamed | {STATE: state})
        return [*renamed.values()]

    def _copy(self, proto: GraphProto, name: str, renamed: Mapping[str, str]) -> None:
        """The nodes of a segment, if there is one; what only it knows gets its name before it."""
        source = self._segments.get(name)
        if source is None:
            return
        known = {tensor.name for tensor in (*source.input, *source.output)}
        names = {"": "", **{tensor: tensor for tensor in known}, **renamed}
        for tensor in source.initializer:
            names[tensor.name] = f"{name}/{tensor.name}"
            proto.initializer.add().CopyFrom(tensor)
            proto.initializer[-1].name = names[tensor.name]
        for node in source.node:
            for output in node.output:
                names.setdefault(output, f"{name}/{output}")
            copy = proto.node.add()
            copy.CopyFrom(node)
            copy.name = f"{name}/{node.name}"
            copy.input[:] = [names[tensor] for tensor in node.input]
            copy.output[:] = [names[tensor] for tensor in node.output]


def _conditions(main: GraphProto, early: int) -> _Conditions:
    """What can be decided before anything runs, for all early exits in one node each."""
    if not early:
        return _Conditions((), ())
    numbers = add_tensor(main, "exits/numbers", np.arange(early))
    add_node(main, "LessOrEqual", [MAX_EXIT, numbers], ["exits/at_end"])
    always = add_tensor(main, "exits/always", -1.0)
    add_node(main, "Where", ["exits/at_end", always, THRESHOLDS], ["exits/limits"])
    most = add_tensor(main, "exits/most", 1.0)
    add_node(main, "LessOrEqual", ["exits/limits", most], ["exits/needed"])
    return _Conditions(*(_parts(main, name, early) for name in ("exits/limits", "exits/needed")))


def _parts(main: GraphProto, name: str, count: int) -> list[str]:
    """The names of the elements of a vector."""
    if count == 1:
        return [name]
    parts = [f"{name}/{number}" for number in range(count)]
    add_node(main, "Split", [name], parts, axis=0)
    return parts


def _branch(name: str) -> GraphProto:
    return empty_model(name).graph


def _copies(proto: GraphProto, names: Iterable[str], made: Iterable[str]) -> None:
    for name, tensor in zip(names, made, strict=True):
        add_node(proto, "Identity", [tensor], [name])


def _if(
    proto: GraphProto,
    condition: str,
    results: Sequence[str],
    branches: Iterable[tuple[GraphProto, Sequence[str]]],
    *,
    kinds: Sequence[tuple[int, tuple[int, ...]]],
) -> None:
    """An `If` between two branches and what each gives, of these kinds and shapes."""
    bodies = []
    for body, made in branches:
        body.name = f"{results[0]}/{body.name}"
        for tensor, (kind, shape) in zip(made, kinds, strict=True):
            declare(body.output, tensor, kind, shape)
        bodies.append(body)
    add_node(proto, "If", [condition], results, then_branch=bodies[0], else_branch=bodies[1])
