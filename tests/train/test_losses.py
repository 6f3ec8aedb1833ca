"""Losses of several exits, against torch's cross-entropy of each."""

import pytest
import torch
import torch.nn.functional as F

from nas.train.losses import EXIT_LOSSES

LOGITS = list(torch.randn((3, 8, 5), generator=torch.Generator().manual_seed(0)))
Y = torch.arange(8) % 5


@pytest.mark.parametrize(("name", "weights"), [("sum", (1, 1, 1)), ("weighted", (0.5, 1, 1.5))])
def test_a_sum_of_cross_entropies(name: str, weights: tuple[float, ...]) -> None:
    each = [F.cross_entropy(logits, Y, label_smoothing=0.2).item() for logits in LOGITS]
    expected = sum(weight * loss for weight, loss in zip(weights, each, strict=True))
    assert EXIT_LOSSES[name](LOGITS, Y, 0.2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", EXIT_LOSSES)
def test_one_exit_is_plain_cross_entropy(name: str) -> None:
    torch.testing.assert_close(EXIT_LOSSES[name](LOGITS[:1], Y, 0.0), F.cross_entropy(LOGITS[0], Y))
