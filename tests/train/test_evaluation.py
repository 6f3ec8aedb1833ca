"""Evaluation: batches do not matter, and accuracy is scikit-learn's."""

from random import Random

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from nas.errors import DataError, TrainingError
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace
from nas.train import accuracies, predict


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def build(net: Net, input_shape: Shape = (2, 6, 5), num_classes: int = 3) -> None:
    x = conv_norm_act(net.input(input_shape), 8, kernel_size=3)
    net.exit(head, x, num_classes)
    net.exit(head, conv_norm_act(x, 8, kernel_size=3), num_classes)


def model() -> Model:
    space = SearchSpace(build, "tests:evaluation")
    return Model(space.graph(space.sample(Random(0))))


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 2, 6, 5), dtype=np.uint8)
LABELS = RNG.integers(0, 3, 20)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 256])
def test_batches_do_not_matter(batch_size: int) -> None:
    trained = model()
    logits = predict(trained, IMAGES, batch_size)
    assert trained.training, "the mode is left as it was"
    for mine, theirs in zip(logits, trained.eval()(torch.tensor(IMAGES)), strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=1e-5)


def test_accuracy_equals_that_of_scikit_learn() -> None:
    trained = model()
    expected = [accuracy_score(LABELS, logits.argmax(1)) for logits in predict(trained, IMAGES)]
    assert accuracies(trained, IMAGES, LABELS) == pytest.approx(expected)


def test_logits_that_are_not_finite_have_no_accuracy() -> None:
    trained = model()
    weights = trained.weights()
    weights["exit_1.linear.bias"][2] = np.inf
    trained.set_weights(weights)
    message = "logits must be finite, but at exit 1 those of 20 of 20 images are not; lower the learning rate"
    with pytest.raises(TrainingError, match=message):
        accuracies(trained, IMAGES, LABELS)


def test_no_images_give_no_logits() -> None:
    assert [logits.shape for logits in predict(model(), IMAGES[:0])] == [(0, 3), (0, 3)]


def test_images_must_fit() -> None:
    with pytest.raises(DataError, match=r"images must have shape \(N, 2, 6, 5\), but got \(20, 2, 5, 5\)"):
        predict(model(), IMAGES[:, :, :5])
