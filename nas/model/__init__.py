"""A network with weights: the torch module of a graph, and the torch layer of each op."""

from nas.model.layers import torch_layer as torch_layer
from nas.model.network import Model as Model

__all__ = ["Model", "torch_layer"]
