"""Run the one file that holds all exits of a model and stops by itself, as hosts without this package do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import EXIT, IMAGE, LOGITS, MAX_EXIT, THRESHOLDS, Bundle
from nas.errors import BundleError
from nas.runtime.checked import explained, fused_session

__all__ = ["FusedModel"]


@final
class FusedModel:
    """All exits of one model in one session; it keeps no features, so it cannot go on from an exit.

    `Runtime` does more, and is as fast. This is for whoever wants one file: `bundle.model(name).fused`.
    """

    def __init__(self, session: ort.InferenceSession, exits: int, file: str = "the fused file") -> None:
        self.exits = exits
        self._session, self._file = session, file

    @classmethod
    def load(cls, bundle: Bundle, model: str, threads: int = 1) -> Self:
        """The fused file of a model of a bundle."""
        entry = bundle.model(model)
        if entry.fused is None:
            raise BundleError(f"{model!r} must have a fused file, but has none; export it with one")
        file = bundle.read(entry.fused)
        session = fused_session(file, bundle, entry, entry.fused, threads=threads)
        return cls(session, entry.exits, entry.fused.file)

    def run(
        self, image: NDArray[np.uint8], max_exit: int, thresholds: Sequence[float] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """Logits (1, K) for one raw image (C, H, W), and the exit that answered, `max_exit` at most.

        An exit before that answers where its confidence is at least its threshold; by default none is asked.
        """
        thresholds = [2.0] * (self.exits - 1) if thresholds is None else [min(t, 2.0) for t in thresholds]
        if len(thresholds) != self.exits - 1:
            rule = f"thresholds must be one for each of {self.exits - 1} exits but the last"
            raise BundleError(f"{rule}, but got {len(thresholds)}; give 2 for an exit not to be asked")
        feeds = {
            IMAGE: np.asarray(image).reshape(1, *np.shape(image)[-3:]),
            MAX_EXIT: np.array(max_exit, np.int64),
            THRESHOLDS: np.array(thresholds, np.float32),
        }
        with explained(self._file):
            logits, exit = self._session.run([LOGITS, EXIT], feeds)
        return logits, int(exit)
