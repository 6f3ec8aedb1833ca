"""Exits that learn from what others answer, beside the labels.

Distillation as in https://arxiv.org/abs/1503.02531: the divergence from the softened probabilities of a
teacher, times T² so that a temperature T does not change how much it counts. From the network's own last
exit it is the one-for-all distillation of https://arxiv.org/abs/1908.06294.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["TEACHERS", "Teacher", "distillation_loss"]

Teacher = Callable[[Sequence[Tensor], Tensor | None, float], Tensor]
"""From the answers (N, K) of all exits, the logits (N, K) of another network and a temperature to the
probabilities (N, K) that exits learn from."""


def distillation_loss(answers: Sequence[Tensor], target: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergences of the softened answers (N, K) from the target, added up over the exits.

    They are means over the images, times the squared temperature.
    """
    logs = (F.log_softmax(answer / temperature, dim=1) for answer in answers)
    losses = torch.stack([F.kl_div(log, target, reduction="batchmean") for log in logs])
    return losses.sum() * temperature**2


def _last(answers: Sequence[Tensor], outside: Tensor | None, temperature: float) -> Tensor:
    return F.softmax(answers[-1].detach() / temperature, dim=1)


def _ensemble(answers: Sequence[Tensor], outside: Tensor | None, temperature: float) -> Tensor:
    shares = [F.softmax(answer.detach() / temperature, dim=1) for answer in answers]
    return torch.stack(shares).mean(dim=0)


def _outside(answers: Sequence[Tensor], outside: Tensor | None, temperature: float) -> Tensor:
    assert outside is not None, "fit gives the teacher's logits"
    return F.softmax(outside / temperature, dim=1)


TEACHERS: Mapping[str, Teacher] = MappingProxyType(
    {"last": _last, "ensemble": _ensemble, "teacher": _outside}
)
"""By name, who teaches: the network's own last exit, the mean of its exits' probabilities, or another
network, which `fit` is given."""
