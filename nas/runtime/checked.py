"""Open what a bundle says it holds, and hold the one against the other before anything runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from nas.bundle import (
    CONFIDENCE,
    EXIT,
    IMAGE,
    LOGITS,
    MAX_EXIT,
    NEXT_STATE,
    STATE,
    THRESHOLDS,
    Bundle,
    BundleModel,
    SegmentFile,
)
from nas.bundle.fields import broken, short
from nas.errors import DataError
from nas.runtime.sessions import open_session

__all__ = ["checked_images", "checked_session", "explained", "fused_session"]

_FLOAT = "tensor(float)"
_TYPES = {IMAGE: "tensor(uint8)", MAX_EXIT: "tensor(int64)", EXIT: "tensor(int64)"}  # all others are float


def checked_session(file: bytes, bundle: Bundle, segment: SegmentFile, threads: int) -> ort.InferenceSession:
    """The session of one segment; `BundleError` where its tensors are not those that bundle.json names."""
    session = _opened(file, segment, threads)
    classes = len(bundle.classes)
    sizes = {
        IMAGE: bundle.input_shape,
        LOGITS: (classes,),
        CONFIDENCE: (),
        STATE: (classes + 1,),
        NEXT_STATE: (classes + 1,),
    }
    for tensor in _tensors(session):
        batch, *rest = tensor.shape or [None]
        if type(batch) is not str or not all(type(size) is int and size > 0 for size in rest):
            rule = f"leave open the batch of {short(tensor.name)} and nothing else"
            raise broken(segment.file, f"{rule}, but has {tensor.shape}")
        if tensor.name in sizes and tuple(rest) != sizes[tensor.name]:
            rule = f"have {tensor.name} with the sizes {sizes[tensor.name]} after the batch"
            raise broken(segment.file, f"{rule}, but has {tensor.shape}")
    return session


def fused_session(
    file: bytes, bundle: Bundle, model: BundleModel, segment: SegmentFile, *, threads: int
) -> ort.InferenceSession:
    """The session of the file of all exits; `BundleError` where its tensors are not those of that model."""
    session = _opened(file, segment, threads)
    sizes: Mapping[str, tuple[int, ...]] = {
        IMAGE: (1, *bundle.input_shape),
        MAX_EXIT: (),
        THRESHOLDS: (model.exits - 1,),
        LOGITS: (1, len(bundle.classes)),
        EXIT: (),
    }
    for tensor in _tensors(session):
        if tuple(tensor.shape) != sizes[tensor.name]:
            rule = f"have {tensor.name} with the sizes {sizes[tensor.name]}"
            raise broken(segment.file, f"{rule}, but has {tensor.shape}")
    return session


def checked_images(x: object, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Raw images as (N, C, H, W); `DataError` where they are something else."""
    found = np.asarray(x)
    rule = f"images must be raw uint8 pixels of shape (N, C, H, W) or (C, H, W) with (C, H, W) = {shape}"
    if found.dtype != np.uint8:
        raise DataError(f"{rule}, but got {found.dtype}; give pixels 0..255 that are not normalized")
    if found.shape[-3:] != shape or found.ndim not in (3, 4) or found.size == 0:
        raise DataError(f"{rule}, but got shape {found.shape}; resize or transpose the images")
    return found.reshape(-1, *shape)


@contextmanager
def explained(file: str) -> Iterator[None]:
    """Whatever goes wrong in ONNX Runtime with a file of a bundle is a `BundleError`."""
    try:
        yield
    except Exception as error:  # the classes of ONNX Runtime have no base of their own
        raise broken(file, f"run on what the files before it make, but got: {error}") from error


def _opened(file: bytes, segment: SegmentFile, threads: int) -> ort.InferenceSession:
    try:
        session = open_session(file, threads)
    except ValueError as error:
        raise broken(segment.file, f"be ONNX that runs here, but got {error}") from error
    names, found = [*segment.inputs, *segment.outputs], [tensor.name for tensor in _tensors(session)]
    if set(found) != set(names):
        raise broken(segment.file, f"have the tensors {names}, but has {found}")
    for tensor in _tensors(session):
        expected = _TYPES.get(tensor.name, _FLOAT)
        if tensor.type != expected:
            raise broken(segment.file, f"have {tensor.name} of type {expected}, but has {tensor.type}")
    return session


def _tensors(session: ort.InferenceSession) -> list[ort.NodeArg]:
    return [*session.get_inputs(), *session.get_outputs()]
