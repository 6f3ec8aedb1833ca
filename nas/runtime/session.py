"""Run images at a level of a bundle; what the level skips is never run, nor even loaded.

Shapes: N batch, C channels, H W space, K classes.
"""

from __future__ import annotations

import operator
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.budget import Budget
from nas.bundle import Bundle, BundleModel, Level, SegmentFile
from nas.bundle.level import check_level
from nas.errors import BundleError
from nas.runtime.checked import checked_images, checked_session
from nas.runtime.choice import level_within
from nas.runtime.passage import Answer, BatchPassage, ImagePassage, Passage
from nas.runtime.prediction import Prediction

__all__ = ["Progress", "Runtime"]


@final
class _Plan(NamedTuple):
    """What a level comes to."""

    number: int | None
    model: BundleModel
    exit: int
    thresholds: tuple[float, ...] | None
    accuracy: float

    def prediction(self, answer: Answer, class_names: tuple[str, ...]) -> Prediction:
        return Prediction(
            logits=answer.logits,
            confidence=answer.confidence,
            exits=answer.exits,
            model=self.model.name,
            level=self.number,
            class_names=class_names,
            readout=self.model.readout,
        )


@final
class Runtime:
    """A loaded bundle that answers at any of its levels; changing the level reloads nothing.

    A segment becomes an ONNX Runtime session when a level first needs it (`prepare` does it ahead), and all
    calls share it. Any number of threads may use one runtime; images that are on their way at the same time
    have their own features. `threads` is the number of cores per call. In threads that load or are begun
    after that, numbers below 1e-38 count as zero from then on, for no image shall take many times as long.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        if threads < 1:
            raise BundleError(f"threads must be at least 1, but got {threads}; give a number of cores")
        self.bundle = bundle
        self.threads = threads
        self._plans = tuple(self._plan_of(level, number) for number, level in enumerate(bundle.levels))
        self._sessions: dict[tuple[str, str], ort.InferenceSession] = {}
        self._session_bytes = 0
        self._idle: dict[str, list[ImagePassage]] = {model.name: [] for model in bundle.models}
        self._passages: list[ImagePassage] = []  # idle or not
        self._lock = threading.Lock()
        self._one_image = (1, *bundle.input_shape)

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Runtime:
        """Read and check the bundle, a folder or a zip, at `path`."""
        return cls(Bundle.load(path), threads=threads)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels in order of measured time; level 0 takes the least."""
        return self.bundle.levels

    @property
    def loaded(self) -> tuple[str, ...]:
        """The segments that have been needed so far, as "model/segment", in the order of loading."""
        with self._lock:
            return tuple("/".join(key) for key in self._sessions)

    @property
    def memory_bytes(self) -> int:
        """What is held now: the files of the loaded segments, and features of as many images as went at once.

        ONNX Runtime holds weights once more where it lays them out for the processor.
        """
        with self._lock:
            passages = list(self._passages)
            return self._session_bytes + sum(passage.buffer_bytes for passage in passages)

    def run(
        self, x: NDArray[np.uint8], level: int | Level | None = None, *, budget: str | Budget | None = None
    ) -> Prediction:
        """What one level says of raw uint8 images, (N, C, H, W) or (C, H, W).

        It is named by its number, or is the best that keeps a `budget` such as `"latency<=0.5ms"`, or a
        `Level` of your own. Where it has thresholds, each image of a batch leaves at the exit that is sure
        of it, and the others go on without it.
        """
        plan = self.plan(level, budget)
        images = self._checked(x)
        passage = self.passage(plan.model, images)
        try:
            answer = passage.reach(plan.exit, plan.thresholds)
        finally:
            self.release(plan.model, passage)
        return plan.prediction(answer, self.bundle.classes)

    def start(self, x: NDArray[np.uint8], level: int | Level = 0) -> Progress:
        """The same, and keep the features so that `Progress.resume` can go on from them."""
        progress = Progress(self, self._checked(x).copy())
        progress.resume(level)
        return progress

    def prepare(self, level: int | Level) -> None:
        """Load what a level needs now rather than at its first call."""
        model, exit, thresholds = self.plan(level)[1:4]
        asked = [k for k in range(exit) if thresholds and thresholds[k] <= 1]
        for segment in model.segments_at(exit, asked):
            self.session(model, segment)
        blank = np.zeros(self._one_image, np.uint8)
        self.run(blank, Level(model=model.name, exit=exit, accuracy=0, macs=0))  # which ties the arrays

    def session(self, model: BundleModel, segment: SegmentFile) -> ort.InferenceSession:
        """The one session of a segment."""
        key = (model.name, segment.name)
        if key not in self._sessions:
            with self._lock:
                if key not in self._sessions:
                    file = self.bundle.read(segment)
                    self._sessions[key] = checked_session(file, self.bundle, segment, self.threads)
                    self._session_bytes += len(file)
        return self._sessions[key]

    def passage(self, model: BundleModel, images: NDArray[np.uint8]) -> Passage:
        """A way of its own through one model for images (N, C, H, W); `release` it when it is over."""
        if len(images) > 1:
            return BatchPassage(model, partial(self.session, model), images, len(self.bundle.classes))
        try:
            passage = self._idle[model.name].pop()
        except IndexError:
            classes, shape = len(self.bundle.classes), self.bundle.input_shape
            passage = ImagePassage(model, partial(self.session, model), shape, classes)
            with self._lock:
                self._passages.append(passage)
        passage.begin(images)
        return passage

    def release(self, model: BundleModel, passage: Passage) -> None:
        """Let others use what an image went through."""
        if isinstance(passage, ImagePassage):
            self._idle[model.name].append(passage)

    def plan(self, level: int | Level | None, budget: str | Budget | None = None) -> _Plan:
        """What to run for a level, given as `run` takes it."""
        if isinstance(level, Level):
            return self._plan_of(level)
        if (level is None) == (budget is None):
            raise BundleError(
                f"either a level or a budget must be given, but got {level=}, {budget=}; give level=0, "
                "or budget='latency<=0.5ms'"
            )
        number = self._number(level) if budget is None else level_within(self.levels, budget)
        if not 0 <= number < len(self._plans):
            rule = f"level must be from 0 to {len(self.levels) - 1}"
            raise BundleError(f"{rule}, but got {level}; choose a level of this bundle")
        return self._plans[number]

    def _number(self, level: object) -> int:
        try:
            return operator.index(level)  # type: ignore[arg-type]
        except TypeError:
            rule = f"level must be a number from 0 to {len(self.levels) - 1} or a Level"
            raise BundleError(f"{rule}, but got {level!r}; choose a level of this bundle") from None

    def _plan_of(self, level: Level, number: int | None = None) -> _Plan:
        model, thresholds = self.bundle.model(level.model), level.thresholds
        check_level(level, model.exits)
        if thresholds is not None:
            thresholds = tuple(float(np.float32(min(value, 2.0))) for value in thresholds)
        return _Plan(number, model, level.exit, thresholds, level.accuracy)

    def _checked(self, x: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images as (N, C, H, W)."""
        if type(x) is np.ndarray and x.dtype == np.uint8 and x.shape == self._one_image:
            return x
        return checked_images(x, self.bundle.input_shape)


@final
class Progress:
    """Images on their way through a bundle: an exit further on costs only the trunks that have not run yet.

    A level of another model cannot use these features: that model starts from the image. One thread at a
    time may use a progress. It keeps the features of its images until it is deleted.
    """

    def __init__(self, runtime: Runtime, images: NDArray[np.uint8]) -> None:
        self._runtime = runtime
        self._images = images
        self._passages: dict[str, Passage] = {}
        self._answers: list[tuple[float, Prediction]] = []  # with the validation accuracy of the level
        self._ran: list[tuple[str, list[str], slice]] = []  # model, its segments, those of one call

    @property
    def answer(self) -> Prediction:
        """The latest answer."""
        return self._answers[-1][1]

    def best_so_far(self) -> Prediction:
        """The answer of the level with the best validation accuracy among those reached."""
        return max(self._answers, key=lambda answer: answer[0])[1]

    @property
    def next_level(self) -> int | None:
        """The next level of the same model, which can use the features, or None after its last exit."""
        now = self.answer
        reached = int(now.exits.max())
        later = (
            (level.exit, number)
            for number, level in enumerate(self._runtime.levels)
            if level.model == now.model and level.exit > reached and level.thresholds is None
        )
        return min(later, default=(None, None))[1]

    @property
    def executed(self) -> tuple[str, ...]:
        """Every segment run for these images, as "model/segment", in order."""
        return tuple(f"{model}/{name}" for model, names, part in self._ran for name in names[part])

    def resume(self, level: int | Level | None = None) -> Prediction:
        """Go on to a level, `next_level` if none is given, running only what has not run for these images."""
        if level is None and (level := self.next_level) is None:
            raise BundleError("the model must have a further exit to resume, but has none; ask for a level")
        plan = self._runtime.plan(level)
        if plan.thresholds is not None and len(self._images) > 1:
            rule = "images that leave at different exits must go alone to be resumed"
            raise BundleError(f"{rule}, but got a batch of {len(self._images)}; run it, or start each image")
        passage = self._passage(plan.model)
        ran = len(passage.executed)
        answer = passage.reach(plan.exit, plan.thresholds)
        self._ran.append((plan.model.name, passage.executed, slice(ran, len(passage.executed))))
        prediction = plan.prediction(answer, self._runtime.bundle.classes)
        self._answers.append((plan.accuracy, prediction))
        return prediction

    def _passage(self, model: BundleModel) -> Passage:
        passage = self._passages.get(model.name)
        if passage is None:
            passage = self._passages[model.name] = self._runtime.passage(model, self._images)
            weakref.finalize(self, self._runtime.release, model, passage)
        return passage
