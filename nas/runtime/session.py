"""Prediction images at a level of a bundle; what the level skips is never run, nor even loaded.

Shapes: N batch, C channels, H W space, K classes.
"""

from __future__ import annotations

import operator
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import IMAGE, LOGITS, Bundle, BundleModel, Level, SegmentFile
from nas.bundle.fields import broken
from nas.errors import BundleError, DataError
from nas.runtime.sessions import open_session

__all__ = ["Prediction", "Progress", "Runtime"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What one exit says about a batch; a single image is a batch of one."""

    logits: NDArray[np.float32]  # (N, K)
    level: int
    exit: int
    class_names: tuple[str, ...]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Softmax of the logits, (N, K)."""
        powers = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    @property
    def labels(self) -> NDArray[np.int64]:
        """Number of the most probable class, (N,)."""
        labels: NDArray[np.int64] = self.logits.argmax(axis=1)
        return labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of the most probable class of each image."""
        return tuple(self.class_names[label] for label in self.labels)


@final
class Runtime:
    """A loaded bundle that answers at any of its levels; changing the level reloads nothing.

    A segment becomes an ONNX Runtime session when a level first needs it (`prepare` does it ahead), and all
    calls share it. Any number of threads may use one runtime. `threads` is the number of cores per call.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self.bundle = bundle
        self.threads = threads
        models = [bundle.model(level.model) for level in bundle.levels]
        self._plans = tuple(
            (model, model.segments_at(level.exit)) for model, level in zip(models, bundle.levels, strict=True)
        )
        self._sessions: dict[tuple[str, str], ort.InferenceSession] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Runtime:
        """Read and check the bundle, a folder or a zip, at `path`."""
        if threads < 1:
            raise BundleError(f"threads must be at least 1, but got {threads}; give a number of cores")
        bundle = Bundle.load(path)
        if any(level.thresholds for level in bundle.levels):
            rule = "levels must have no thresholds, for this release stops at fixed exits only"
            raise BundleError(f"bundle {path}: {rule}, but some have; update nas-dial or export without them")
        return cls(bundle, threads=threads)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels in order of measured time; level 0 takes the least."""
        return self.bundle.levels

    @property
    def loaded(self) -> tuple[str, ...]:
        """The segments that have been needed so far, as "model/segment", in the order of loading."""
        return tuple("/".join(key) for key in self._sessions)

    def run(self, x: NDArray[np.uint8], level: int) -> Prediction:
        """Prediction raw uint8 images, (N, C, H, W) or (C, H, W), at one level."""
        return self.start(x, level).answer

    def start(self, x: NDArray[np.uint8], level: int = 0) -> Progress:
        """Prediction at one level like `run`, and keep the features so that `Progress.resume` can go on."""
        progress = Progress(self, self._checked(x))
        progress.resume(level)
        return progress

    def prepare(self, level: int) -> None:
        """Load what a level needs now rather than at its first call."""
        model, segments = self.plan(level)
        for segment in segments:
            self.session(model, segment)

    def plan(self, level: int) -> tuple[BundleModel, tuple[SegmentFile, ...]]:
        """The model of a level and the segments that it runs, in order."""
        level = operator.index(level)
        if not 0 <= level < len(self.levels):
            rule = f"level must be from 0 to {len(self.levels) - 1}"
            raise BundleError(f"{rule}, but got {level}; choose a level of this bundle")
        return self._plans[level]

    def session(self, model: BundleModel, segment: SegmentFile) -> ort.InferenceSession:
        """The one session of a segment."""
        key = (model.name, segment.name)
        if key not in self._sessions:
            with self._lock:
                if key not in self._sessions:
                    self._sessions[key] = _open(self.bundle, segment, self.threads)
        return self._sessions[key]

    def _checked(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy, (N, C, H, W), so that the caller may reuse its buffer while a `Progress` lives."""
        x = np.asarray(x)
        shape = self.bundle.input_shape
        rule = f"images must be raw uint8 pixels of shape (N, C, H, W) or (C, H, W) with (C, H, W) = {shape}"
        if x.dtype != np.uint8:
            raise DataError(f"{rule}, but got {x.dtype}; give pixels 0..255 that are not normalized")
        if x.shape[-3:] != shape or x.ndim not in (3, 4) or x.size == 0:
            raise DataError(f"{rule}, but got shape {x.shape}; resize or transpose the images")
        return x.reshape(-1, *shape).copy()


@final
class Progress:
    """One batch on its way through a bundle: an exit further on costs only the trunks that have not run yet.

    A level of another model cannot use these features: that model starts from the image. One thread at a
    time may use a progress.
    """

    def __init__(self, runtime: Runtime, image: NDArray[np.uint8]) -> None:
        self._runtime = runtime
        self._image = image
        self._features: dict[str, dict[str, NDArray[Any]]] = {}  # model name -> tensor name -> tensor
        self._answers: list[Prediction] = []
        self._executed: list[str] = []

    @property
    def answer(self) -> Prediction:
        """The latest answer."""
        return self._answers[-1]

    @property
    def best_so_far(self) -> Prediction:
        """The answer of the level with the best validation accuracy among those reached."""
        levels = self._runtime.levels
        return max(self._answers, key=lambda answer: levels[answer.level].accuracy)

    @property
    def next_level(self) -> int | None:
        """The next level of the same model, which can use the features, or None after its last exit."""
        levels, now = self._runtime.levels, self.answer
        later = (
            (level.exit, i)
            for i, level in enumerate(levels)
            if level.model == levels[now.level].model and level.exit > now.exit
        )
        return min(later, default=(None, None))[1]

    @property
    def executed(self) -> tuple[str, ...]:
        """Every segment run for this batch, as "model/segment", in order."""
        return tuple(self._executed)

    def resume(self, level: int | None = None) -> Prediction:
        """Go on to a level, `next_level` if none is given, running only what has not run for this batch."""
        if level is None and (level := self.next_level) is None:
            raise BundleError("the model must have a further exit to resume, but has none; ask for a level")
        model, segments = self._runtime.plan(level)
        features = self._features.setdefault(model.name, {IMAGE: self._image})
        for segment in segments:
            if not set(segment.outputs) <= features.keys():
                features |= self._run(model, segment, features)
        answer = Prediction(
            logits=features.pop(LOGITS),
            level=operator.index(level),
            exit=self._runtime.levels[level].exit,
            class_names=self._runtime.bundle.classes,
        )
        self._answers.append(answer)
        return answer

    def _run(
        self, model: BundleModel, segment: SegmentFile, features: dict[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        session = self._runtime.session(model, segment)
        inputs = {name: features[name] for name in segment.inputs}
        outputs = session.run(segment.outputs, inputs)  # plain arrays: a call costs less than with binding
        self._executed.append(f"{model.name}/{segment.name}")
        return dict(zip(segment.outputs, outputs, strict=True))


def _open(bundle: Bundle, segment: SegmentFile, threads: int) -> ort.InferenceSession:
    model = bundle.read(segment)
    try:
        session = open_session(model, threads)
    except ValueError as error:
        raise broken(segment.file, f"be ONNX that runs here, but got {error}") from error
    _check_tensors(bundle, segment, session)
    return session


def _check_tensors(bundle: Bundle, segment: SegmentFile, session: ort.InferenceSession) -> None:
    """Hold bundle.json against the file, so that a wrong entry is found before it runs."""
    shapes = {tensor.name: tensor.shape for tensor in (*session.get_inputs(), *session.get_outputs())}
    names = [*segment.inputs, *segment.outputs]
    if set(shapes) != set(names):
        raise broken(segment.file, f"have the tensors {names}, but has {list(shapes)}")
    for name, expected in ((IMAGE, bundle.input_shape), (LOGITS, (len(bundle.classes),))):
        if name in shapes and tuple(shapes[name][1:]) != expected:
            rule = f"have {name} with the sizes {expected} after the batch"
            raise broken(segment.file, f"{rule}, but has {shapes[name]}")
