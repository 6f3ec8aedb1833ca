"""Write a network as ONNX, a segment or a whole exit of it, from its graph and numpy weights, without torch.

Tensors are named after the nodes that make them; the image is `x` (raw bytes, N×C×H×W with N left open)
and what a head makes is `logits` and `confidence`. Batch normalization is folded into the convolution or
linear layer before it, and dropout vanishes.

An op of your own needs one rule, in the module that defines it:

    @onnx_nodes.register
    def _(op: MyOp, layer: LayerWriter) -> None:
        layer.node("Softplus", *layer.inputs)
"""

from nas.onnx.fused import fused_model as fused_model
from nas.onnx.model import onnx_model as onnx_model
from nas.onnx.model import shipped_segments as shipped_segments
from nas.onnx.model import tensor_names as tensor_names
from nas.onnx.quantized import quantized_model as quantized_model
from nas.onnx.rules import LayerWriter as LayerWriter
from nas.onnx.rules import Weights as Weights
from nas.onnx.rules import onnx_nodes as onnx_nodes
from nas.onnx.weights import random_weights as random_weights

__all__ = [
    "LayerWriter",
    "Weights",
    "fused_model",
    "onnx_model",
    "onnx_nodes",
    "quantized_model",
    "random_weights",
    "shipped_segments",
    "tensor_names",
]
