"""Time networks in int8: whatever a target is given is quantized on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from nas.errors import MissingExtraError, TargetError
from nas.latency.engine import OnnxRuntime
from nas.latency.target import Inputs, Target
from nas.latency.timing import Timing
from nas.onnx import quantized_model

__all__ = ["Int8"]

_SAMPLES = 4


@final
class Int8(Target):
    """A target that runs every model in int8.

    Weights have a scale per channel, activations one per tensor, found on random inputs with the values of
    those given. That is right for milliseconds, which do not depend on values; for the accuracy of an int8
    network see `nas.export`. A model without convolution or linear layer stays as it is.
    """

    def __init__(self, target: Target, seed: int = 0) -> None:
        self._target = target
        self._seed = seed

    @property
    def identity(self) -> str:
        return f"{self._target.identity}, int8"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        try:
            import onnx  # noqa: F401
        except ImportError as error:
            raise MissingExtraError.of("onnx", "search") from error
        try:
            quantized = list(self._quantized(models, inputs))
        except Exception as error:  # neither onnx nor ONNX Runtime have a base of their own for theirs
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise TargetError(
                "a model must run in ONNX Runtime on the inputs given, to be quantized, but got: "
                f"{reason}; write both for one graph"
            ) from error
        return replace(self._target.time(quantized, inputs, seconds=seconds), target=self.identity)

    def _quantized(self, models: Sequence[bytes], inputs: Inputs) -> Iterator[bytes]:
        """The models in int8, each calibrated on what the float models before it make."""
        rng = np.random.default_rng(self._seed)
        samples: list[dict[str, Any]] = [
            {name: rng.choice(array.ravel(), array.shape) for name, array in inputs.items()}
            for _ in range(_SAMPLES)
        ]
        for model in models:
            yield quantized_model(model, samples)
            run = OnnxRuntime().open(model)
            for features in samples:
                features.update(run(features))
