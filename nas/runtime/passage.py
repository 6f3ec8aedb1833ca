"""One image, or a batch, on its way through a model: trunk by trunk, and through the heads that are asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import CONFIDENCE, IMAGE, LOGITS, NEXT_STATE, STATE, BundleModel, SegmentFile
from nas.runtime.checked import explained
from nas.runtime.sessions import Arrays, BoundCall, tensor_names

__all__ = ["Answer", "BatchPassage", "ImagePassage", "Passage"]

Sessions = Callable[[SegmentFile], ort.InferenceSession]
"""The one session of a segment of the model."""


@final
class Answer(NamedTuple):
    """What exits said: (N, K), (N,) and (N,)."""

    logits: NDArray[np.float32]
    confidence: NDArray[np.float32]
    exits: NDArray[np.int64]


class Passage(ABC):
    """The way of some images through one model."""

    executed: list[str]
    """The segments that have run, in order."""

    @abstractmethod
    def reach(self, exit: int, thresholds: Sequence[float] | None = None) -> Answer:
        """Go on to an exit, and give its answer, or that of an exit before it which is sure enough.

        An exit is asked where its threshold is at most 1, and answers where its confidence is not below that.
        What has run already does not run again, and who has been asked keeps to the answer.
        """


@final
class ImagePassage(Passage):
    """The way of one image; its features lie in arrays to which all segments are tied, to be used again."""

    def __init__(self, model: BundleModel, sessions: Sessions, shape: tuple[int, ...], classes: int) -> None:
        self._model, self._sessions = model, sessions
        self._segments = {segment.name: segment for segment in model.segments}
        self._trunks: list[BoundCall | None] = []
        self._heads: dict[int, BoundCall] = {}
        self._exits = [_fixed(exit) for exit in range(model.exits)]
        self._arrays: Arrays = {IMAGE: np.zeros((1, *shape), np.uint8)}
        self._remembers = model.readout.remembers
        if self._remembers:
            self._arrays[STATE] = np.zeros((1, classes + 1), np.float32)
        self._states: dict[int, NDArray[np.float32]] = {}  # after the head of an exit
        self._all_heads = model.readout.needs_all_heads
        self._answers: dict[int, Answer] = {}
        self._at = -1  # the last trunk that has run
        self.executed: list[str] = []

    def begin(self, image: NDArray[np.uint8]) -> None:
        """Forget the image before, and take this one, (1, C, H, W)."""
        self._arrays[IMAGE][:] = image
        self._answers.clear()
        self._states.clear()
        self._at = -1
        self.executed = []

    def reach(self, exit: int, thresholds: Sequence[float] | None = None) -> Answer:
        if thresholds is None and not self._all_heads:
            while self._at < exit:
                self._trunk(self._at + 1)
            return self._answers.get(exit) or self._head(exit)
        for k in range(exit):
            if k > self._at:
                self._trunk(k)
            limit = 2.0 if thresholds is None else thresholds[k]
            if limit <= 1 or self._all_heads:
                answer = self._answers.get(k) or self._head(k)
                if limit <= 1 and not answer.confidence[0] < limit:
                    return answer
        if exit > self._at:
            self._trunk(exit)
        return self._answers.get(exit) or self._head(exit)

    def _trunk(self, exit: int) -> None:
        if exit == len(self._trunks):
            name = f"trunk_{exit}"
            self._trunks.append(self._first(name) if name in self._segments else None)
        elif (call := self._trunks[exit]) is not None:
            call()
        if (call := self._trunks[exit]) is not None:
            self.executed.append(call.name)
        self._at = exit

    def _head(self, exit: int) -> Answer:
        arrays = self._arrays
        if self._remembers:
            arrays[STATE][:] = _state_before(self._states, exit, arrays[STATE])
        call = self._heads.get(exit)
        if call is None:
            call = self._heads[exit] = self._first(f"head_{exit}")
        else:
            call()
        self.executed.append(call.name)
        if self._remembers:
            self._states[exit] = arrays[NEXT_STATE].copy()
        answer = Answer(arrays[LOGITS].copy(), arrays[CONFIDENCE].copy(), self._exits[exit])
        self._answers[exit] = answer
        return answer

    def _first(self, name: str) -> BoundCall:
        """The call of a segment, which has run once then."""
        segment = self._segments[name]
        session = self._sessions(segment)
        with explained(segment.file):
            call = BoundCall(session, self._arrays, name)
            call()
        return call

    @property
    def buffer_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in list(self._arrays.values()))


@final
class BatchPassage(Passage):
    """The way of a batch; where thresholds let images leave, only the others go on.

    After that its features are those of the last images, so it cannot go further.
    """

    def __init__(
        self, model: BundleModel, sessions: Sessions, images: NDArray[np.uint8], classes: int
    ) -> None:
        self._model, self._sessions = model, sessions
        self._count, self._classes = len(images), classes
        self._segments = {segment.name: segment for segment in model.segments}
        self._features: Arrays = {IMAGE: images}
        self._remembers = model.readout.remembers
        self._states: dict[int, NDArray[np.float32]] = {}
        self._all_heads = model.readout.needs_all_heads
        self._answers: dict[int, Answer] = {}
        self._at = -1
        self.executed: list[str] = []

    def reach(self, exit: int, thresholds: Sequence[float] | None = None) -> Answer:
        if thresholds is not None:
            return self._thinned(exit, thresholds)
        while self._at < exit:
            self._trunk(self._at + 1)
        for k in range(exit) if self._all_heads else ():
            if k not in self._answers:
                self._head(k)
        return self._answers.get(exit) or self._head(exit)

    def _thinned(self, exit: int, thresholds: Sequence[float]) -> Answer:
        rows, exits = np.arange(self._count), np.empty(self._count, np.int64)
        logits = np.empty((self._count, self._classes), np.float32)
        confidence = np.empty(self._count, np.float32)
        while self._at < exit and len(rows):
            self._trunk(self._at + 1)
            at = self._at
            asked = at < exit and thresholds[at] <= 1
            if not (asked or self._all_heads or at == exit):
                continue
            answer = self._head(at)
            leave = ~(answer.confidence < thresholds[at]) if asked else np.full(len(rows), at == exit)
            if leave.any():
                logits[rows[leave]], confidence[rows[leave]] = answer.logits[leave], answer.confidence[leave]
                exits[rows[leave]] = at
                rows = rows[~leave]
                self._keep(~leave)
        return Answer(logits, confidence, exits)

    def _trunk(self, exit: int) -> None:
        name = f"trunk_{exit}"
        if name in self._segments:
            self._features |= self._run(name)
        self._at = exit

    def _head(self, exit: int) -> Answer:
        if self._remembers:
            zeros = np.zeros((len(self._features[IMAGE]), self._classes + 1), np.float32)
            self._features[STATE] = _state_before(self._states, exit, zeros)
        made = self._run(f"head_{exit}")
        if self._remembers:
            self._states[exit] = made[NEXT_STATE]
        logits = made[LOGITS]
        answer = Answer(logits, made[CONFIDENCE], np.full(len(logits), exit))
        self._answers[exit] = answer
        return answer

    def _run(self, name: str) -> Arrays:
        session = self._sessions(self._segments[name])
        inputs, outputs = tensor_names(session)
        with explained(self._segments[name].file):
            made = session.run(outputs, {each: self._features[each] for each in inputs})
        self.executed.append(name)
        return dict(zip(outputs, made, strict=True))

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        """Only these images, and of them only what later segments read."""
        later = {IMAGE} | {
            name
            for segment in self._model.segments
            if int(segment.name.rpartition("_")[2]) > self._at
            for name in segment.inputs
        }
        self._features = {name: array[rows] for name, array in self._features.items() if name in later}
        self._states = {exit: state[rows] for exit, state in self._states.items()}


def _state_before(
    states: Mapping[int, NDArray[np.float32]], exit: int, like: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the last head before an exit that was asked remembers; nothing, where none was."""
    before = [k for k in states if k < exit]
    return states[max(before)] if before else np.zeros_like(like)


def _fixed(exit: int) -> NDArray[np.int64]:
    """The number of an exit for one image; shared by all answers, so nobody may change it."""
    number = np.array([exit])
    number.flags.writeable = False
    return number
