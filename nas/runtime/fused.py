"""Run the one file that holds all exits of a model and stops by itself, as hosts without this package do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import EXIT, IMAGE, LOGITS, MAX_EXIT, THRESHOLDS, Bundle
from nas.errors import BundleError, DataError
from nas.runtime.checked import checked_images, explained, fused_session

__all__ = ["FusedModel"]


@final
class FusedModel:
    """All exits of one model in one session; it keeps no features, so it cannot go on from an exit.

    `Runtime` does more, and is as fast. This is for whoever wants one file: `bundle.model(name).fused`.
    """

    def __init__(
        self, session: ort.InferenceSession, exits: int, shape: tuple[int, int, int], file: str
    ) -> None:
        self.exits = exits
        self._session, self._shape, self._file = session, shape, file

    @classmethod
    def load(cls, bundle: Bundle, model: str, threads: int = 1) -> Self:
        """The fused file of a model of a bundle."""
        entry = bundle.model(model)
        if entry.fused is None:
            raise BundleError(f"{model!r} must have a fused file, but has none; export it with one")
        file = bundle.read(entry.fused)
        session = fused_session(file, bundle, entry, entry.fused, threads=threads)
        return cls(session, entry.exits, bundle.input_shape, entry.fused.file)

    def run(
        self, image: NDArray[np.uint8], max_exit: int, thresholds: Sequence[float] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """Logits (1, K) for one raw image (C, H, W), and the exit that answered, `max_exit` at most.

        An exit before that answers where its confidence is at least its threshold; by default none is asked.
        """
        images = checked_images(image, self._shape)
        if len(images) != 1:
            raise DataError(f"a fused file must get one image, but got {len(images)}; give one after another")
        limits = np.full(self.exits - 1, 2.0) if thresholds is None else np.minimum(thresholds, 2.0)
        if limits.shape != (self.exits - 1,):
            rule = f"thresholds must be one for each of {self.exits - 1} exits but the last"
            raise BundleError(f"{rule}, but got {thresholds}; give 2 for an exit not to be asked")
        feeds = {
            IMAGE: images,
            MAX_EXIT: np.array(max_exit, np.int64),
            THRESHOLDS: limits.astype(np.float32),
        }
        with explained(self._file):
            logits, exit = self._session.run([LOGITS, EXIT], feeds)
        return logits, int(exit)
