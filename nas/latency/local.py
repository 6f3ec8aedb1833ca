"""Time a network on the machine that runs this process, in ONNX Runtime."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import Latency
from nas.errors import TargetError
from nas.latency.target import Target
from nas.runtime.sessions import open_session

__all__ = ["LocalTarget"]

_ROUNDS = 10  # enough that one of them falls between the disturbances of a busy machine
_LEAST_RUNS = 3  # per round, however long a run takes


@final
class LocalTarget(Target):
    """This machine's processor with a fixed number of threads.

    A run is what `nas.runtime` does too: a plain call with numpy arrays, which allocates its outputs. After a
    warm-up there are ten rounds of runs: p50 is the median of the quietest round, which other programs
    disturbed least; p95 and spread are of all runs.
    """

    def __init__(self, threads: int = 1) -> None:
        if threads < 1:
            raise TargetError(f"threads must be at least 1, but got {threads}; give a number of cores")
        self.threads = threads

    @cached_property
    def identity(self) -> str:
        return f"{_chip()}, onnxruntime {ort.__version__}, threads {self.threads}"

    def measure(self, model: bytes, inputs: Mapping[str, NDArray[Any]], *, seconds: float = 0.2) -> Latency:
        try:
            session = open_session(model, self.threads)
            outputs = [tensor.name for tensor in session.get_outputs()]
            feeds = dict(inputs)
            session.run(outputs, feeds)
        except Exception as error:  # the classes of ONNX Runtime have no base of their own
            reason = str(error).splitlines()[0]
            raise TargetError(
                f"a model must run in ONNX Runtime on the inputs given, but got: {reason}; write both for "
                "one graph"
            ) from error
        rounds = _timed_rounds(lambda: session.run(outputs, feeds), seconds)
        low, median, high, p95 = np.percentile([*chain(*rounds)], (25, 50, 75, 95)).tolist()
        return Latency(
            p50_ms=1e3 * min(float(np.median(times_s)) for times_s in rounds),
            p95_ms=1e3 * p95,
            spread=(high - low) / median,
            runs=sum(map(len, rounds)),
            target=self.identity,
        )


def _timed_rounds(run: Callable[[], object], seconds: float) -> list[list[float]]:
    """Seconds of each run, round by round; the first round warms up and is not returned."""
    rounds = []
    for _ in range(_ROUNDS + 1):
        times_s: list[float] = []
        begin = now = perf_counter()
        while len(times_s) < _LEAST_RUNS or now - begin < seconds / (_ROUNDS + 1):
            run()
            before, now = now, perf_counter()
            times_s.append(now - before)
        rounds.append(times_s)
    return rounds[1:]


def _chip() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
