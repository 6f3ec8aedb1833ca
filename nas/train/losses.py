"""One loss from what all exits answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

__all__ = ["ANSWERS", "EXIT_LOSSES", "Answers", "ExitLoss"]

ExitLoss = Callable[[Sequence[Tensor], Tensor, float], Tensor]
"""From the answers (N, K) of every exit, labels (N,) and label smoothing to one number."""

Answers = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""From the logits (N, K) of every head to what every exit answers."""


def _sum(logits: Sequence[Tensor], y: Tensor, label_smoothing: float) -> Tensor:
    return _weighted(logits, y, label_smoothing, [1.0] * len(logits))


def _later(logits: Sequence[Tensor], y: Tensor, label_smoothing: float) -> Tensor:
    mean = (len(logits) + 1) / 2
    return _weighted(logits, y, label_smoothing, [(exit + 1) / mean for exit in range(len(logits))])


def _earlier(logits: Sequence[Tensor], y: Tensor, label_smoothing: float) -> Tensor:
    mean = (len(logits) + 1) / 2
    return _weighted(logits, y, label_smoothing, [(len(logits) - exit) / mean for exit in range(len(logits))])


def _weighted(
    logits: Sequence[Tensor], y: Tensor, label_smoothing: float, weights: Sequence[float]
) -> Tensor:
    losses = [F.cross_entropy(exit, y, label_smoothing=label_smoothing) for exit in logits]
    total = losses[0] * weights[0]
    for loss, weight in zip(losses[1:], weights[1:], strict=True):
        total = total + loss * weight
    return total


def _own(logits: Sequence[Tensor]) -> Sequence[Tensor]:
    return logits


def _boosted(logits: Sequence[Tensor]) -> Sequence[Tensor]:
    return list(accumulate(logits, lambda total, own: total.detach() + own))


EXIT_LOSSES: Mapping[str, ExitLoss] = MappingProxyType(
    {"sum": _sum, "weighted": _later, "early-weighted": _earlier}
)
"""By name: cross-entropies added up (MSDNet, https://arxiv.org/abs/1703.09844), or weighted in proportion
to the number of the exit, counted from 1, so that later exits count more, or counted from the end."""

ANSWERS: Mapping[str, Answers] = MappingProxyType({"last": _own, "sum": _boosted})
"""By the name that a `Readout` has for it: each exit answers with the logits of its own head, or with the
sum over the heads so far, of which only the own one learns: additive exits, each of which corrects those
before (BoostNet, https://arxiv.org/abs/2211.16726)."""
