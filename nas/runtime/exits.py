"""What every exit of one model answers, of which each image runs each trunk once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Level
from nas.runtime.prediction import Prediction
from nas.runtime.session import Runtime

__all__ = ["exit_predictions"]


def exit_predictions(
    runtime: Runtime, model: str, images: NDArray[np.uint8], *, batch_size: int = 256
) -> tuple[Prediction, ...]:
    """Of images (N, C, H, W), exit by exit, all heads before it asked: what thresholds are solved from."""
    exits = range(runtime.bundle.model(model).exits)
    levels = [Level(model=model, exit=exit, accuracy=0, macs=0) for exit in exits]
    parts: list[list[Prediction]] = []
    for start in range(0, len(images), batch_size):
        progress = runtime.start(images[start : start + batch_size], levels[0])
        parts.append([progress.answer, *map(progress.resume, levels[1:])])
    return tuple(
        Prediction(
            logits=np.concatenate([part.logits for part in exit]),
            confidence=np.concatenate([part.confidence for part in exit]),
            exits=np.concatenate([part.exits for part in exit]),
            model=model,
            level=None,
            class_names=runtime.bundle.classes,
            readout=runtime.bundle.model(model).readout,
        )
        for exit in zip(*parts, strict=True)
    )
