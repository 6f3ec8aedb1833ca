"""Fit how sure the exits of a network may be, by what they get right on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Readout
from nas.cascade.answer import combined_logits

__all__ = ["fitted_temperature", "with_temperatures"]

_LEAST, _MOST = np.log(0.05), np.log(20.0)  # of the logarithm; a network that is never wrong has no limit
_STEPS = 60  # of golden section: the interval shrinks to 1e-12 of what it was
_GOLDEN = (5**0.5 - 1) / 2


def with_temperatures(
    readout: Readout, heads: Sequence[NDArray[np.float32]], labels: NDArray[np.integer]
) -> Readout:
    """The read-out with a temperature per exit, unless it has some, from the logits (N, K) of each head.

    It is the one at which the labels are likeliest (Guo et al., https://arxiv.org/abs/1706.04599).
    """
    if readout.temperatures or not len(labels):
        return readout
    logits = heads if readout.combine == "mean" else combined_logits(heads, readout)
    return replace(readout, temperatures=tuple(fitted_temperature(each, labels) for each in logits))


def fitted_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature, 0.05 to 20, at which the labels are likeliest; the likelihood has one maximum."""
    logits = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)

    def cost(log: float) -> float:
        cooled = logits * np.exp(-log)
        return float((np.log(np.exp(cooled).sum(1)) - cooled[np.arange(len(labels)), labels]).mean())

    low, high = _LEAST, _MOST
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
