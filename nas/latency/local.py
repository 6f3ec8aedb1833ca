"""Time networks on the machine that runs this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.resources import files
from threading import Lock
from time import perf_counter
from typing import final

import numpy as np

from nas.bundle import IMAGE
from nas.errors import TargetError
from nas.latency.chip import chip_name
from nas.latency.engine import Engine, OnnxRuntime, Runner
from nas.latency.power import find_meter
from nas.latency.rounds import Pass, Stopwatch
from nas.latency.target import Inputs, Target
from nas.latency.timing import Timing

__all__ = ["LocalTarget", "reference_model"]


@final
class LocalTarget(Target):
    """This machine's processor, by default in ONNX Runtime with a fixed number of threads.

    A run is what `nas.runtime` does too: a call tied to arrays for its inputs and outputs. How runs are timed
    is described at `nas.latency.timing`; one measurement runs at a time.
    """

    def __init__(self, threads: int = 1, engine: Engine | None = None) -> None:
        if threads < 1:
            raise TargetError(f"threads must be at least 1, but got {threads}; give a number of cores")
        self.threads = threads
        self._engine = OnnxRuntime(threads) if engine is None else engine
        self._lock = Lock()

    @cached_property
    def identity(self) -> str:
        return f"{chip_name()}, {self._engine.identity}"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        def load() -> Pass:
            return _passes([self._engine.open(model) for model in models], inputs)

        with self._lock:
            stopwatch = self._stopwatch
            return self._timed(stopwatch, load, seconds)

    def _timed(self, stopwatch: Stopwatch, load: Callable[[], Pass], seconds: float) -> Timing:
        try:
            return stopwatch.time(load, seconds=seconds, target=self.identity)
        except Exception as error:  # the classes of ONNX Runtime have no base of their own
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise TargetError(
                f"a model must run in {self._engine.identity} on the inputs given, but got: {reason}; write "
                "both for one graph"
            ) from error

    @cached_property
    def _stopwatch(self) -> Stopwatch:
        image = np.zeros((1, 3, 32, 32), np.uint8)
        reference = _passes([self._engine.open(reference_model())], {IMAGE: image})
        return Stopwatch(reference, meter=find_meter())


def reference_model() -> bytes:
    """The ONNX file of the reference network: 3 x 32 x 32 bytes in, 10 logits out."""
    return (files("nas.latency") / "reference.onnx").read_bytes()


def _passes(runners: Sequence[Runner], inputs: Inputs) -> Pass:
    def run() -> list[float]:
        features, times_s = dict(inputs), []
        for runner in runners:
            begin = perf_counter()
            made = runner(features)
            times_s.append(perf_counter() - begin)
            features.update(made)
        return times_s

    return run
