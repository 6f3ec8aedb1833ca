"""The interface of a runtime that runs ONNX files in this process, and ONNX Runtime as the one that ships."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, final

import onnxruntime as ort
from numpy.typing import NDArray

from nas.runtime.sessions import BoundCall, open_session, tensor_names

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
        return _Tied(open_session(model, self._threads))


@final
class _Tied:
    """Runs a session as `nas.runtime` does: called again with the same arrays it is tied to them.

    From then on it gives the same arrays too, whose contents change.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._inputs, self._outputs = tensor_names(session)
        self._given: list[NDArray[Any] | None] | None = None
        self._call: BoundCall | None = None
        self._made: Features = {}

    def __call__(self, features: Features) -> Features:
        given = [features.get(name) for name in self._inputs]
        if self._given is None or not all(map(is_, given, self._given)):
            self._given, self._call = given, None
            feeds = {name: features[name] for name in self._inputs if name in features}
            return dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
        if self._call is None:
            arrays = {name: features[name] for name in self._inputs}
            self._call = BoundCall(self._session, arrays)
            self._made = {name: arrays[name] for name in self._outputs}
        self._call()
        return self._made
