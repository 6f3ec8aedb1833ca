"""Distillation, against its definition in numpy and scipy, and as a training."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import softmax
from scipy.stats import entropy

from nas.data import Data, load_data
from nas.errors import StudyError
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace
from nas.train import TrainConfig, fit, predict
from nas.train.distillation import TEACHERS, distillation_loss

LOGITS = list(torch.randn((3, 8, 5), generator=torch.Generator().manual_seed(0)))
OUTSIDE = torch.randn((8, 5), generator=torch.Generator().manual_seed(1))


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), num_classes)

    x = conv_norm_act(net.input(input_shape), net.choice("width", 8, 32), kernel_size=3)
    net.exit(head, x)
    net.exit(head, conv_norm_act(x, 32, kernel_size=3, stride=2))


SPACE = SearchSpace(build, "tests:distillation")


def model(width: int = 8, seed: int = 0) -> Model:
    return Model(SPACE.graph(SPACE.architecture({"width": width})), seed)


@cache
def digits() -> Data:
    return load_data("digits")


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence_is_that_of_scipy(temperature: float) -> None:
    target = softmax(OUTSIDE.numpy() / temperature, axis=1)
    each = [entropy(target, softmax(own.numpy() / temperature, axis=1), axis=1).mean() for own in LOGITS]
    loss = distillation_loss(LOGITS, torch.tensor(target), temperature)
    assert loss.item() == pytest.approx(sum(each) * temperature**2, rel=1e-5)


def test_who_teaches() -> None:
    shares = [softmax(logits.numpy() / 2, axis=1) for logits in LOGITS]
    expected = {
        "last": shares[-1],
        "ensemble": np.mean(shares, axis=0),
        "teacher": softmax(OUTSIDE.numpy() / 2, axis=1),
    }
    assert expected.keys() == TEACHERS.keys()
    for name, wanted in expected.items():
        heads = [logits.clone().requires_grad_() for logits in LOGITS]
        target = TEACHERS[name](heads, OUTSIDE, 2.0)
        np.testing.assert_allclose(target.numpy(), wanted, rtol=1e-5)
        assert not target.requires_grad, "what teaches does not learn from its pupils"


def test_the_last_exit_learns_nothing_from_itself() -> None:
    heads = [logits.clone().requires_grad_() for logits in LOGITS]
    distillation_loss(heads, TEACHERS["last"](heads, None, 2.0), 2.0).backward()
    assert heads[-1].grad is not None and heads[-1].grad.abs().max() < 1e-6
    assert heads[0].grad is not None and heads[0].grad.abs().max() > 1e-3


def test_temperature_does_not_change_how_much_a_teacher_counts() -> None:
    """At high temperatures the gradient tends to that of half the squared distance, over classes squared."""
    own = LOGITS[0].clone().requires_grad_()
    gradients = []
    for temperature in (50.0, 100.0):
        target = F.softmax(OUTSIDE / temperature, dim=1)
        gradients.append(torch.autograd.grad(distillation_loss([own], target, temperature), own)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0.05, atol=1e-3)


def test_a_pupil_becomes_like_its_teacher() -> None:
    teacher = model(32)
    fit(teacher, digits(), TrainConfig(epochs=2, batch_size=32, augment="none"))
    said = torch.tensor(predict(teacher, digits().x_val)[-1]).softmax(1)
    apart = []
    for weight in (0.0, 8.0):
        pupil = model()
        config = TrainConfig(
            epochs=2, batch_size=32, augment="none", distill="teacher", distill_weight=weight
        )
        fit(pupil, digits(), config, teacher=teacher)
        logs = torch.tensor(predict(pupil, digits().x_val)[-1]).log_softmax(1)
        apart.append(F.kl_div(logs, said, reduction="batchmean").item())
    assert apart[1] < apart[0]


def test_a_teacher_must_fit() -> None:
    config = TrainConfig(epochs=1, distill="teacher")
    with pytest.raises(StudyError, match="only then, but got none; change one of both"):
        fit(model(), digits(), config)
    with pytest.raises(StudyError, match="but got one with distill='last'"):
        fit(model(), digits(), TrainConfig(epochs=1, distill="last"), teacher=model())
    larger = Model(SPACE.at((1, 16, 16), 10).graph(SPACE.at((1, 16, 16), 10).architecture({"width": 8})))
    with pytest.raises(
        StudyError, match=r"must have the network's image shape and classes, \(\(1, 8, 8\), 10\)"
    ):
        fit(model(), digits(), config, teacher=larger)


def test_a_checkpoint_knows_its_teacher(tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, distill="teacher", images=64)
    fit(model(), digits(), config, teacher=model(32), checkpoint=tmp_path / "c")
    fit(model(), digits(), config, teacher=model(32), checkpoint=tmp_path / "c")
    with pytest.raises(StudyError, match="must be of this training, but its teacher is"):
        fit(model(), digits(), config, teacher=model(32, seed=1), checkpoint=tmp_path / "c")


def test_a_teacher_is_left_as_it_was() -> None:
    teacher = model(32)
    teacher.train()
    config = TrainConfig(epochs=1, distill="teacher", images=64)
    before = {name: values.copy() for name, values in teacher.weights().items()}
    fit(model(), digits(), config, teacher=teacher)
    assert teacher.training
    assert all((values == before[name]).all() for name, values in teacher.weights().items())
    with pytest.raises(StudyError, match="must not be its own teacher"):
        fit(teacher, digits(), config, teacher=teacher)
