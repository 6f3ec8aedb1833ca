"""The metrics by which networks are compared: their names, the words budgets have for them, their units.

A metric is named with its unit, as in code, files and studies (`latency_ms`). A key is a metric, at one
exit (`latency_ms@0`) or at the last (`latency_ms`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import final

__all__ = ["METRICS", "QUANTITIES", "Metric", "split_key"]

_COUNTS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@final
@dataclass(frozen=True)
class Metric:
    """What is measured or counted of a network."""

    name: str
    heading: str
    """For people."""
    quantity: str | None = None
    """What a budget calls it; None for what no budget bounds."""
    units: Mapping[str, float] = field(default_factory=dict)
    """Units in terms of the metric's own."""
    counted: bool = False
    """Whether it follows from the graph alone, as a whole number."""


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("accuracy", "accuracy"),
            Metric("anytime_accuracy", "anytime accuracy"),
            Metric("macs", "MACs", "macs", _COUNTS, counted=True),
            Metric("flops", "FLOPs", "flops", _COUNTS, counted=True),
            Metric("params", "parameters", "params", _COUNTS, counted=True),
            Metric("latency_ms", "ms", "latency", {"us": 1e-3, "ms": 1, "s": 1e3}),
            Metric("peak_bytes", "peak bytes", "memory", _BYTES, counted=True),
            Metric("size_bytes", "bytes", "size", _BYTES, counted=True),
            Metric("energy_mj", "mJ", "energy", {"uJ": 1e-3, "mJ": 1, "J": 1e3}),
        )
    }
)
QUANTITIES: Mapping[str, Metric] = MappingProxyType(
    {metric.quantity: metric for metric in METRICS.values() if metric.quantity}
)
"""The metrics that a budget can bound, by the word it has for them."""


def split_key(key: str) -> tuple[str, int | None]:
    """The metric and the exit in a key: `("latency_ms", 0)`; None for the last exit.

    What does not end in `@` and digits is all metric.
    """
    name, _, exit = key.partition("@")
    return (name, int(exit)) if exit.isdecimal() else (key, None)
