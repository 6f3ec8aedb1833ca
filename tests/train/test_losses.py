"""Losses of several exits, against torch's cross-entropy of each, and what each exit learns from."""

import pytest
import torch
import torch.nn.functional as F

from nas.bundle import Readout
from nas.cascade import combined_logits
from nas.train.losses import ANSWERS, EXIT_LOSSES

LOGITS = list(torch.randn((3, 8, 5), generator=torch.Generator().manual_seed(0)))
Y = torch.arange(8) % 5


@pytest.mark.parametrize(
    ("name", "weights"),
    [("sum", (1, 1, 1)), ("weighted", (0.5, 1, 1.5)), ("early-weighted", (1.5, 1, 0.5))],
)
def test_a_sum_of_cross_entropies(name: str, weights: tuple[float, ...]) -> None:
    each = [F.cross_entropy(logits, Y, label_smoothing=0.2).item() for logits in LOGITS]
    expected = sum(weight * loss for weight, loss in zip(weights, each, strict=True))
    assert EXIT_LOSSES[name](LOGITS, Y, 0.2).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", EXIT_LOSSES)
def test_one_exit_is_plain_cross_entropy(name: str) -> None:
    torch.testing.assert_close(EXIT_LOSSES[name](LOGITS[:1], Y, 0.0), F.cross_entropy(LOGITS[0], Y))


@pytest.mark.parametrize("name", ANSWERS)
def test_exits_answer_as_the_readout_of_that_name(name: str) -> None:
    expected = combined_logits([logits.numpy() for logits in LOGITS], Readout(combine=name))
    for answer, wanted in zip(ANSWERS[name](LOGITS), expected, strict=True):
        torch.testing.assert_close(answer, torch.tensor(wanted), check_dtype=False)


def test_an_additive_exit_does_not_teach_those_before() -> None:
    heads = [logits.clone().requires_grad_() for logits in LOGITS]
    answers = ANSWERS["sum"](heads)
    F.cross_entropy(answers[2], Y).backward()
    assert heads[0].grad is None and heads[1].grad is None
    alone = (answers[1].detach() + LOGITS[2]).requires_grad_()
    F.cross_entropy(alone, Y).backward()
    torch.testing.assert_close(heads[2].grad, alone.grad)
