"""Open ONNX files in the one way in which they are both measured and run."""

from __future__ import annotations

import onnxruntime as ort

__all__ = ["open_session"]


def open_session(model: bytes, threads: int) -> ort.InferenceSession:
    """A session on so many threads of the processor; `ValueError` says why it does not open."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Every session has its own threads; idle ones that spin would take the cores from the next segment.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Numbers too small for the processor's fast path count as zero: no image shall take many times as long.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime have no base of their own
        raise ValueError(str(error).splitlines()[0]) from error
