"""The interface of everything that can time a network: this machine, a phone, a browser, a recording."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from nas.bundle import Latency

__all__ = ["Target"]


class Target(ABC):
    """A machine with a runtime that times ONNX models, one at a time."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Chip, runtime, its version and threads: milliseconds compare only where this is equal."""

    @abstractmethod
    def measure(self, model: bytes, inputs: Mapping[str, NDArray[Any]], *, seconds: float = 0.2) -> Latency:
        """Time the ONNX file on these inputs, by name, for about so long; its `target` is `identity`.

        A run is timed as the program that ships would do it, arrays in and arrays out. `TargetError` where
        the runtime cannot load the file or run it on these inputs.
        """
