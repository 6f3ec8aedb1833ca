"""One loss from the logits of all exits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

__all__ = ["EXIT_LOSSES", "ExitLoss"]

ExitLoss = Callable[[Sequence[Tensor], Tensor, float], Tensor]
"""From the logits (N, K) of every exit, labels (N,) and label smoothing to one number."""


def _sum(logits: Sequence[Tensor], y: Tensor, label_smoothing: float) -> Tensor:
    return _weighted(logits, y, label_smoothing, [1.0] * len(logits))


def _later(logits: Sequence[Tensor], y: Tensor, label_smoothing: float) -> Tensor:
    mean = (len(logits) + 1) / 2
    return _weighted(logits, y, label_smoothing, [(exit + 1) / mean for exit in range(len(logits))])


def _weighted(
    logits: Sequence[Tensor], y: Tensor, label_smoothing: float, weights: Sequence[float]
) -> Tensor:
    losses = [F.cross_entropy(exit, y, label_smoothing=label_smoothing) for exit in logits]
    total = losses[0] * weights[0]
    for loss, weight in zip(losses[1:], weights[1:], strict=True):
        total = total + loss * weight
    return total


EXIT_LOSSES: Mapping[str, ExitLoss] = MappingProxyType({"sum": _sum, "weighted": _later})
"""By name: cross-entropies added up (MSDNet, https://arxiv.org/abs/1703.09844), or weighted in proportion
to the number of the exit, counted from 1, so that later exits count more."""
