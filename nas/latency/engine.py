"""The interface of a runtime that runs ONNX files in this process, and ONNX Runtime as the one that ships."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, final

import onnxruntime as ort
from numpy.typing import NDArray

from nas.runtime.sessions import open_session

__all__ = ["Engine", "Features", "OnnxRuntime", "Runner"]

Features = Mapping[str, NDArray[Any]]
Runner = Callable[[Features], Features]
"""Runs one model: takes what it needs by name from all features so far, and gives those it makes."""


class Engine(ABC):
    """A runtime with its settings."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name, version and settings."""

    @abstractmethod
    def open(self, model: bytes) -> Runner:
        """Load an ONNX file. An exception of any class, here or when it runs, says why it cannot."""


@final
class OnnxRuntime(Engine):
    """ONNX Runtime on the processor, with sessions opened as `nas.runtime` opens them."""

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads

    @property
    def identity(self) -> str:
        return f"onnxruntime {ort.__version__}, threads {self._threads}"

    def open(self, model: bytes) -> Runner:
        session = open_session(model, self._threads)
        inputs = [tensor.name for tensor in session.get_inputs()]
        outputs = [tensor.name for tensor in session.get_outputs()]

        def run(features: Features) -> Features:
            made = session.run(outputs, {name: features[name] for name in inputs if name in features})
            return dict(zip(outputs, made, strict=True))

        return run
