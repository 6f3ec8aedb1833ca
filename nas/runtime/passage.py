"""One image, or a batch, on its way through a model: trunk by trunk, and through the heads that are asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
        What has run already does not run again.
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
        if model.readout.remembers:
            self._arrays[STATE] = np.zeros((1, classes + 1), np.float32)
        self._all_heads = model.readout.needs_all_heads
        self._answers: dict[int, Answer] = {}
        self._at = -1  # the last trunk that has run
        self.executed: list[str] = []

    def begin(self, image: NDArray[np.uint8]) -> None:
        """Forget the image before, and take this one, (1, C, H, W)."""
        self._arrays[IMAGE][:] = image
        self._answers.clear()
        self._at = -1
        self.executed = []
        if STATE in self._arrays:
            self._arrays[STATE][:] = 0

    def reach(self, exit: int, thresholds: Sequence[float] | None = None) -> Answer:
        while self._at < exit:
            self._at = at = self._at + 1
            self._trunk(at)
            limit = thresholds[at] if thresholds is not None and at < exit else 2.0
            if at < exit and (limit <= 1 or self._all_heads):
                answer = self._head(at)
                if limit <= 1 and not answer.confidence[0] < limit:
                    return answer
        return self._answers.get(exit) or self._head(exit)

    def _trunk(self, exit: int) -> None:
        if exit == len(self._trunks):
            name = f"trunk_{exit}"
            self._trunks.append(self._tied(name) if name in self._segments else None)
        call = self._trunks[exit]
        if call is not None:
            call()
            self.executed.append(call.name)

    def _head(self, exit: int) -> Answer:
        call = self._heads.get(exit)
        if call is None:
            call = self._heads[exit] = self._tied(f"head_{exit}")
        call()
        self.executed.append(call.name)
        arrays = self._arrays
        if NEXT_STATE in arrays and exit == self._at:
            arrays[STATE][:] = arrays[NEXT_STATE]
        answer = Answer(arrays[LOGITS].copy(), arrays[CONFIDENCE].copy(), self._exits[exit])
        self._answers[exit] = answer
        return answer

    def _tied(self, name: str) -> BoundCall:
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
        return sum(array.nbytes for array in self._arrays.values())


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
        if model.readout.remembers:
            self._features[STATE] = np.zeros((len(images), classes + 1), np.float32)
        self._all_heads = model.readout.needs_all_heads
        self._answers: dict[int, Answer] = {}
        self._at = -1
        self.executed: list[str] = []

    def reach(self, exit: int, thresholds: Sequence[float] | None = None) -> Answer:
        if thresholds is not None:
            return self._thinned(exit, thresholds)
        while self._at < exit:
            self._trunk()
            if self._all_heads and self._at < exit:
                self._head(self._at)
        return self._answers.get(exit) or self._head(exit)

    def _thinned(self, exit: int, thresholds: Sequence[float]) -> Answer:
        rows, exits = np.arange(self._count), np.empty(self._count, np.int64)
        logits = np.empty((self._count, self._classes), np.float32)
        confidence = np.empty(self._count, np.float32)
        while self._at < exit and len(rows):
            self._trunk()
            at = self._at
            asked = at < exit and thresholds[at] <= 1
            if not (asked or self._all_heads or at == exit):
                continue
            answer = self._head(at)
            if asked or at == exit:
                leave = ~(answer.confidence < thresholds[at]) if asked else np.ones(len(rows), bool)
                logits[rows[leave]], confidence[rows[leave]] = answer.logits[leave], answer.confidence[leave]
                exits[rows[leave]] = at
                rows = rows[~leave]
                self._keep(~leave)
        return Answer(logits, confidence, exits)

    def _trunk(self) -> None:
        self._at += 1
        name = f"trunk_{self._at}"
        if name in self._segments:
            self._features |= self._run(name)

    def _head(self, exit: int) -> Answer:
        made = self._run(f"head_{exit}")
        if NEXT_STATE in made and exit == self._at:
            self._features[STATE] = made[NEXT_STATE]
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
        later = {
            name
            for segment in self._model.segments
            if int(segment.name.rpartition("_")[2]) > self._at
            for name in segment.inputs
        }
        self._features = {name: array[rows] for name, array in self._features.items() if name in later}


def _fixed(exit: int) -> NDArray[np.int64]:
    """The number of an exit for one image; shared by all answers, so nobody may change it."""
    number = np.array([exit])
    number.flags.writeable = False
    return number
