"""OpenVINO as a second runtime, whose kernels and graph fusions differ from those of ONNX Runtime."""

from __future__ import annotations

from typing import Any, final

from nas.errors import MissingExtraError
from nas.latency.engine import Engine, Features, Runner

__all__ = ["OpenVino"]


@final
class OpenVino(Engine):
    """OpenVINO on the processor. A model is compiled for the batch of its first run."""

    def __init__(self, threads: int = 1) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingExtraError.of("openvino", "openvino") from error
        self._threads = threads
        self._version = openvino.__version__.partition("-")[0]  # a build number and a branch follow
        self._core = openvino.Core()

    @property
    def identity(self) -> str:
        return f"openvino {self._version}, threads {self._threads}"

    def open(self, model: bytes) -> Runner:
        try:
            network = self._core.read_model(model)
        except RuntimeError as error:
            raise ValueError(_reason(error)) from error
        inputs = [port.get_any_name() for port in network.inputs]
        outputs = [port.get_any_name() for port in network.outputs]  # compiled, they may have further names
        request: Any = None

        def run(features: Features) -> Features:
            nonlocal request
            try:
                if request is None:
                    request = self._request(network, features)
                # As in ONNX Runtime: inputs are read where they are, and outputs are new arrays.
                made = request.infer([features[name] for name in inputs], share_inputs=True)
            except RuntimeError as error:
                raise ValueError(_reason(error)) from error
            return dict(zip(outputs, made.to_tuple(), strict=True))

        return run

    def _request(self, network: Any, features: Features) -> Any:
        """The network ready to run with the batch that the features have."""
        shapes = {}
        for port in network.inputs:
            name, dtype = port.get_any_name(), port.element_type.to_dtype()
            if name not in features or features[name].dtype != dtype:  # OpenVINO would convert them
                got = features[name].dtype if name in features else "none"
                raise ValueError(f"input {name} must be {dtype}, but is {got}")
            shapes[port] = [len(features[name]), *list(port.partial_shape)[1:]]
        network.reshape(shapes)  # kernels for a batch left open are slower
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the processor has it, with other logits
            "ENABLE_CPU_PINNING": False,  # a thread must be able to leave a core that others use
        }
        return self._core.compile_model(network, "CPU", settings).create_infer_request()


def _reason(error: RuntimeError) -> str:
    """What went wrong, which OpenVINO says after the places in its source."""
    return [line for line in str(error).splitlines() if line.strip()][-1]
