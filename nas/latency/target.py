"""The interface of everything that can time a network: this machine, a board, a browser, a recording."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from nas.bundle import Latency
from nas.latency.timing import Timing

__all__ = ["Inputs", "Target"]

Inputs = Mapping[str, NDArray[Any]]


class Target(ABC):
    """A machine with a runtime that times ONNX models."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Chip, runtime, its version and threads: milliseconds compare only where this is equal."""

    @abstractmethod
    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        """Time ONNX files that run one after another on the same input, for at most about so many seconds.

        A model reads, by name, what models before it made, and otherwise `inputs`. A run is timed as the
        program that ships would do it, arrays in and arrays out. A target ends early once its result is
        narrow. `TargetError` where the runtime cannot load a file or run it on these inputs, or where the
        target cannot be reached.
        """

    def measure(self, model: bytes, inputs: Inputs, *, seconds: float = 2.0) -> Latency:
        """Latency of one ONNX file."""
        return self.time((model,), inputs, seconds=seconds).latency()
