"""Turn an ONNX file of this package into int8 by what its tensors hold on given samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, final

from numpy.typing import NDArray

from nas.bundle import LOGITS
from nas.onnx.readout import READOUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Sample", "quantized_model"]

Sample = Mapping[str, NDArray[Any]]
"""What a file is given at once, by the names of its inputs; other names are passed over."""

_QUANTIZABLE = {"Conv", "Gemm", "MatMul"}


def quantized_model(model: bytes, samples: Sequence[Sample]) -> bytes:
    """The same network with weights and features in int8; one without convolution or linear layer as it is.

    Weights have a scale per channel, features one per tensor, from the least and greatest value met. The
    logits and all that a head makes of them stay as they are: a confidence in steps of 1/255 would decide
    exits by rounding, and there is nothing to win.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    proto = onnx.load_from_string(model)
    excluded = [node.name for node in proto.graph.node if _stays(node)]
    if not any(node.op_type in _QUANTIZABLE and node.name not in excluded for node in proto.graph.node):
        return model
    names = [tensor.name for tensor in proto.graph.input]
    feeds = [{name: sample[name] for name in names} for sample in samples]
    add_pre_process_metadata(proto)  # our writer has folded what can be; else two warnings ask for it
    with TemporaryDirectory() as folder:
        source, result = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(proto.SerializeToString())
        quantize_static(
            source,
            result,
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,  # x86 multiplies unsigned by signed bytes
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_exclude=excluded,
        )
        return _cleaned(onnx.load(result))


def _stays(node: NodeProto) -> bool:
    made = {output for output in node.output if output.rpartition("/")[2] == LOGITS}
    return bool(made) or node.name.startswith(READOUT)


def _cleaned(proto: ModelProto) -> bytes:
    del proto.metadata_props[:]
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@final
class _Reader:
    """Samples in the form that `onnxruntime.quantization` reads."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Sample | None:
        return next(self._samples, None)
