"""Open what a bundle says it holds, and hold the one against the other before anything runs."""

from __future__ import annotations

import onnxruntime as ort

from nas.bundle import CONFIDENCE, IMAGE, LOGITS, NEXT_STATE, STATE, Bundle, SegmentFile
from nas.bundle.fields import broken
from nas.runtime.sessions import open_session

__all__ = ["checked_session"]

_TYPES = {IMAGE: "tensor(uint8)"}  # all others are float


def checked_session(file: bytes, bundle: Bundle, segment: SegmentFile, threads: int) -> ort.InferenceSession:
    """The session of one segment; `BundleError` where its tensors are not those that bundle.json names."""
    try:
        session = open_session(file, threads)
    except ValueError as error:
        raise broken(segment.file, f"be ONNX that runs here, but got {error}") from error
    tensors = (*session.get_inputs(), *session.get_outputs())
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    names = [*segment.inputs, *segment.outputs]
    if set(shapes) != set(names):
        raise broken(segment.file, f"have the tensors {names}, but has {list(shapes)}")
    for tensor in tensors:
        expected = _TYPES.get(tensor.name, "tensor(float)")
        if tensor.type != expected:
            raise broken(segment.file, f"have {tensor.name} of type {expected}, but has {tensor.type}")
    classes = len(bundle.classes)
    for name, sizes in (
        (IMAGE, bundle.input_shape),
        (LOGITS, (classes,)),
        (CONFIDENCE, ()),
        (STATE, (classes + 1,)),
        (NEXT_STATE, (classes + 1,)),
    ):
        if name in shapes and (len(shapes[name]) != 1 + len(sizes) or tuple(shapes[name][1:]) != sizes):
            rule = f"have {name} with the sizes {sizes} after the batch"
            raise broken(segment.file, f"{rule}, but has {shapes[name]}")
    return session
