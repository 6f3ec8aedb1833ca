"""What a trained network says about images, and how often it is right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nas.bundle import Readout
from nas.cascade import combined_logits
from nas.errors import DataError, TrainingError
from nas.model import Model

__all__ = ["accuracies", "predict"]


def predict(model: Model, images: NDArray[np.uint8], batch_size: int = 256) -> list[NDArray[np.float32]]:
    """Logits (N, K) of every exit for images (N, C, H, W)."""
    if images.shape[1:] != model.graph.input_shape:
        wanted = ", ".join(map(str, ("N", *model.graph.input_shape)))
        raise DataError(f"images must have shape ({wanted}), but got {images.shape}; give such images")
    training = model.training
    model.eval()
    parts: list[list[NDArray[np.float32]]] = []
    with torch.inference_mode():
        for start in range(0, max(1, len(images)), batch_size):
            logits = model(torch.tensor(images[start : start + batch_size]))
            parts.append([exit.numpy() for exit in logits])
    model.train(training)
    return [np.concatenate(exit) for exit in zip(*parts, strict=True)]


def accuracies(
    model: Model, x: NDArray[np.uint8], y: NDArray[np.int64], readout: Readout | None = None
) -> tuple[float, ...]:
    """Share of images whose largest logit is their label's, by exit; TrainingError if one is not finite.

    Exits answer by the read-out, without one by the logits of their own heads.
    """
    exits = predict(model, x)
    for exit, logits in enumerate(exits):
        wrong = np.count_nonzero(~np.isfinite(logits).all(axis=1))
        if wrong:
            raise TrainingError(
                f"logits must be finite, but at exit {exit} those of {wrong} of {len(x)} images are not; "
                "lower the learning rate or train for more steps"
            )
    answers = combined_logits(exits, readout) if readout else exits
    return tuple(float((logits.argmax(axis=1) == y).mean()) for logits in answers)
