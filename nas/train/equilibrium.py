"""Gradients of a trunk that do not grow with the number of exits behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nas.graph import Graph

__all__ = ["GRADIENTS", "gradient_shares"]


def gradient_shares(graph: Graph) -> Mapping[str, float]:
    """For each parameter, by its name in the state dict, one over the number of exits that need it.

    Times its gradient of losses added up that is the mean over these exits: gradient equilibrium
    (https://arxiv.org/abs/1908.06294). There each head's gradient is scaled by 1 / (K - k) where it enters
    the trunk at exit k of K, and that of the trunk behind by (K - k - 1) / (K - k); multiplied along the way,
    every exit behind a layer comes to the same 1 / (K - k).
    """
    return {
        f"{node.name}.{key}": 1 / feeds.bit_count()
        for node, feeds in zip(graph.nodes, graph.feeds, strict=True)
        for key in node.layer.weights
    }


def _whole(graph: Graph) -> Mapping[str, float]:
    return {}


GRADIENTS: Mapping[str, Callable[[Graph], Mapping[str, float]]] = MappingProxyType(
    {"sum": _whole, "equilibrium": gradient_shares}
)
"""By name, what gradients are multiplied by: nothing, so that a layer learns from the sum over the exits
behind it, or such that it learns from their mean. Those not named are left alone."""
