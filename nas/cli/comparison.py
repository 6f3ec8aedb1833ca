"""Counts a network with fvcore and thop, beside our own counts under their conventions."""

from __future__ import annotations

import warnings

import torch

from nas.cost import Cost, total_ops
from nas.graph import Graph
from nas.model import Model

__all__ = ["compare_counts"]


def compare_counts(graph: Graph) -> dict[str, dict[str, int]]:
    """By what is counted: others' counts of the torch model, all heads running, and ours of the graph."""
    from fvcore.nn import FlopCountAnalysis
    from thop import profile

    model = Model(graph).eval()
    image = torch.zeros(1, *graph.input_shape, dtype=torch.uint8)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # both tools use names that newer packages deprecate
        counted = FlopCountAnalysis(model, image).unsupported_ops_warnings(False)
        fvcore_total, by_operator = int(counted.total()), counted.by_operator()
        thop_total = int(profile(model, inputs=(image,), verbose=False)[0])  # leaves its buffers in the model
    products = sum(int(count) for name, count in by_operator.items() if name in ("conv", "linear", "addmm"))
    cost = Cost.total(graph)
    pairs = {
        "fvcore, conv and linear": (products, cost.macs),
        "fvcore, total": (fvcore_total, total_ops(graph, "fvcore")),
        "thop, total": (thop_total, total_ops(graph, "thop")),
        "torch, parameters": (parameters, cost.params),
    }
    return {what: {"counted": theirs, "ours": ours} for what, (theirs, ours) in pairs.items()}
