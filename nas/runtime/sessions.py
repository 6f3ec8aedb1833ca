"""Open ONNX files in the one way in which they are both measured and run."""

from __future__ import annotations

import os
from typing import Any, final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

__all__ = ["Arrays", "BoundCall", "open_session", "tensor_names"]

Arrays = dict[str, NDArray[Any]]


def open_session(model: bytes, threads: int) -> ort.InferenceSession:
    """A session on so many threads of the processor; `ValueError` says why it does not open."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Every session has its own threads; idle ones that spin would take the cores from the next segment.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Numbers too small for the processor's fast path count as zero: no image shall take many times as long.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Weights are in the file itself; one that names others, wherever they are, does not open.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of ONNX Runtime have no base of their own
        raise ValueError(str(error).splitlines()[0]) from error


def tensor_names(session: ort.InferenceSession) -> tuple[list[str], list[str]]:
    """Names of what a session reads and of what it makes."""
    return [each.name for each in session.get_inputs()], [each.name for each in session.get_outputs()]


@final
class BoundCall:
    """A session tied to arrays for good: it reads some of them and writes others, whenever it is called.

    That saves looking up and allocating, which small networks feel.
    """

    def __init__(self, session: ort.InferenceSession, arrays: Arrays, name: str = "") -> None:
        """`arrays` must hold all inputs; outputs that it does not have are added."""
        self.name = name
        inputs, outputs = tensor_names(session)
        for each, array in _made(session, arrays).items():
            arrays.setdefault(each, array)
        binding = session.io_binding()
        for each in inputs:
            binding.bind_ortvalue_input(each, ort.OrtValue.ortvalue_from_numpy(arrays[each]))
        for each in outputs:
            binding.bind_ortvalue_output(each, ort.OrtValue.ortvalue_from_numpy(arrays[each]))
        self._tied = [arrays[each] for each in (*inputs, *outputs)]  # the binding does not keep them
        self._run, self._binding = session.run_with_iobinding, binding

    def __call__(self) -> None:
        self._run(self._binding)


def _made(session: ort.InferenceSession, arrays: Arrays) -> Arrays:
    """Arrays for what a session makes of these; a run tells shapes that the file leaves open."""
    made: Arrays = {}
    count = len(arrays[session.get_inputs()[0].name])
    for tensor in session.get_outputs():
        batch, *rest = tensor.shape or [None]
        if tensor.type != "tensor(float)" or type(batch) is not str or not all(type(n) is int for n in rest):
            inputs, outputs = tensor_names(session)
            found = session.run(outputs, {each: arrays[each] for each in inputs})
            return {name: np.array(array, order="C") for name, array in zip(outputs, found, strict=True)}
        made[tensor.name] = np.zeros((count, *rest), np.float32)
    return made
