"""Training: it learns, an interruption changes nothing, and what goes wrong is said."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from nas.data import Data, load_data
from nas.errors import DataError, StudyError, TrainingError
from nas.graph import Graph
from nas.layers import conv_norm_act, dropout, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import Candidate, SearchSpace
from nas.train import SHORT_CONFIG, Epoch, ShortTraining, TrainConfig, accuracies, fit
from nas.train.fitting import learning_rate


def head(x: Feature, num_classes: int) -> Feature:
    return linear(dropout(global_avg_pool(x), 0.1), num_classes)


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = conv_norm_act(net.input(input_shape), net.choice("width", 16, 24), kernel_size=3)
    x = conv_norm_act(x, 32, kernel_size=3, stride=2)
    net.exit(head, x, num_classes)
    y = conv_norm_act(x, 32, kernel_size=3)
    net.exit(head, x + conv_norm_act(y, 32, kernel_size=3, act=None), num_classes)


SPACE = SearchSpace(build, "tests:fitting")


def sample(seed: int = 0) -> Graph:
    return SPACE.graph(SPACE.sample(Random(seed)))


@cache
def digits() -> Data:
    return load_data("digits")


@cache
def few() -> Data:
    """A part of digits, for tests that need no learning."""
    data = digits()
    return replace(data, x_train=data.x_train[:120], y_train=data.y_train[:120])


def test_digits_are_learned() -> None:
    model = Model(sample())
    history = fit(model, digits(), replace(SHORT_CONFIG, epochs=5, batch_size=32))
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert history.accuracies == accuracies(model, digits().x_val, digits().y_val)
    assert min(accuracies(model, digits().x_test, digits().y_test)) > 0.9, "at every exit"
    assert not model.training


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "learning_rate": 0.01},
        {"ema_decay": 0.8, "exit_loss": "weighted"},
        {"momentum": 0.0},
        {"combine": "sum", "gradients": "equilibrium", "distill": "ensemble"},
    ],
    ids=str,
)
def test_an_interruption_changes_nothing(changes: dict[str, Any], tmp_path: Path) -> None:
    config = TrainConfig(epochs=4, batch_size=32, augment="shift-flip", **changes)
    whole = Model(sample())
    expected = fit(whole, few(), config)
    for seed, stop in ((0, 0), (1, 2)):

        def interrupt(epoch: Epoch, stop: int = stop) -> None:
            if epoch.number == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(Model(sample(), seed), few(), config, checkpoint=tmp_path / "c", on_epoch=interrupt)
    for seed in (2, 3):  # the rest, and once more when all is done
        model = Model(sample(), seed)
        assert fit(model, few(), config, checkpoint=tmp_path / "c") == expected
        np.testing.assert_equal(model.weights(), whole.weights())


def test_a_checkpoint_must_be_of_the_same_training(tmp_path: Path) -> None:
    path, config = tmp_path / "c", TrainConfig(epochs=1, augment="none")
    fit(Model(sample()), few(), config, checkpoint=str(path))
    fit(Model(sample()), few(), replace(config, threads=2), checkpoint=path)
    others: list[tuple[Graph, Data, TrainConfig, str]] = [
        (sample(), few(), replace(config, epochs=2), "its epochs is 1 and not 2"),
        (sample(), few(), replace(config, seed=5), "its seed is 0 and not 5"),
        (sample(), digits(), config, "its data is "),
        (sample(1), few(), config, "its graph is "),
    ]
    for graph, data, changed, message in others:
        with pytest.raises(StudyError, match=f"must be of this training, but {message}"):
            fit(Model(graph), data, changed, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StudyError, match="must be a whole safetensors file"):
        fit(Model(sample()), few(), config, checkpoint=path)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_steps_equal_those_of_torch(optimizer: str) -> None:
    """All images in one batch, three steps, by torch's optimizers and schedule."""

    def plain(net: Net, input_shape: Shape, num_classes: int) -> None:
        net.exit(
            lambda x: linear(global_avg_pool(x), num_classes),
            conv_norm_act(net.input(input_shape), 8, kernel_size=3),
        )

    space = SearchSpace(plain, "tests:plain").at((1, 8, 8), 10)
    graph, data, rate, decay = space.graph(space.sample(Random(0))), few(), 0.05, 0.3
    model, reference = Model(graph), Model(graph)
    config = TrainConfig(epochs=3, batch_size=120, warmup_epochs=0, augment="none")
    fit(model, data, replace(config, optimizer=optimizer, learning_rate=rate, weight_decay=decay))

    reference.set_normalization(data.mean, data.std)
    named = dict(reference.named_parameters())
    decayed = [named.pop("conv_norm_act.conv.weight"), named.pop("exit.linear.weight")]
    others = list(named.values())
    groups: Any = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    steps: torch.optim.Optimizer
    if optimizer == "sgd":
        steps = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    else:
        steps = torch.optim.AdamW(groups, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(steps, T_max=3)
    for _ in range(3):
        (logits,) = reference(torch.tensor(data.x_train))
        steps.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor(data.y_train), label_smoothing=0.1).backward()
        steps.step()
        schedule.step()
    for key, value in reference.weights().items():
        np.testing.assert_allclose(model.weights()[key], value, rtol=1e-3, atol=1e-4, err_msg=key)


def test_warm_up_and_decay() -> None:
    config = TrainConfig(epochs=20, learning_rate=0.5, warmup_epochs=1)
    rates = [learning_rate(config, step / 10, 0.1) for step in range(200)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[10] == max(rates) == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_an_average_with_its_own_statistics() -> None:
    """Weights hardly move: the average is what they were, and statistics are the data's, not the initial."""
    model = Model(sample())
    before = model.weights()
    fit(model, few(), TrainConfig(epochs=1, learning_rate=1e-9, ema_decay=0.9, batch_size=60, augment="none"))
    after = model.weights()
    name = "conv_norm_act.norm.running_mean"
    np.testing.assert_allclose(
        after["conv_norm_act.conv.weight"], before["conv_norm_act.conv.weight"], atol=1e-6
    )
    with torch.no_grad():
        x = model.get_submodule("normalize")(torch.tensor(few().x_train))
        mean = model.get_submodule("conv_norm_act.conv")(x).mean((0, 2, 3))
    np.testing.assert_allclose(after[name], mean.numpy(), atol=1e-5)


def test_images_per_epoch() -> None:
    model, calls = Model(sample()), []
    model.register_forward_pre_hook(
        lambda module, args: calls.append(len(args[0])) if module.training else None
    )
    fit(model, few(), TrainConfig(epochs=2, batch_size=32, images=70))
    assert calls == [32] * 4
    calls.clear()
    fit(model, few(), TrainConfig(epochs=1, batch_size=500))
    assert calls == [120]


def test_a_loss_that_explodes_is_said() -> None:
    message = (
        r"the loss must stay finite, but became (nan|inf) at epoch \d+, step \d+; lower the "
        r"learning rate \(1e\+30\)"
    )
    with pytest.raises(TrainingError, match=message):
        fit(Model(sample()), few(), TrainConfig(epochs=5, batch_size=32, learning_rate=1e30))


def test_a_network_that_explodes_at_the_last_step_is_said(tmp_path: Path) -> None:
    config = TrainConfig(epochs=1, batch_size=120, learning_rate=1e30, warmup_epochs=0)
    message = (
        "logits must be finite, but at exit 0 those of 143 of 143 images are not; lower the learning rate"
    )
    with pytest.raises(TrainingError, match=message):
        fit(Model(sample()), few(), config, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir()), "nothing is left that would count as an epoch"
    with pytest.raises(TrainingError, match="logits must be finite"):
        ShortTraining(few(), epochs=1, config=config)(Candidate(SPACE, SPACE.sample(Random(0))))


def test_a_network_must_be_built_for_the_data() -> None:
    space = SPACE.at((1, 9, 8), 10)
    with pytest.raises(
        DataError, match=r"it is for images \(1, 9, 8\) of 10 classes, and digits has \(1, 8, 8\) of 10"
    ):
        fit(Model(space.graph(space.sample(Random(0)))), few(), TrainConfig())


def test_threads_and_random_numbers_are_left_alone() -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    fit(Model(sample()), few(), TrainConfig(epochs=1, threads=2))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_a_short_training_draws_from_the_seed_of_the_candidate() -> None:
    evaluate = ShortTraining(few(), epochs=1)
    architecture = SPACE.sample(Random(0))
    first = evaluate(Candidate(SPACE, architecture, seed=4))
    assert first == evaluate(Candidate(SPACE, architecture, seed=4))
    model = Model(sample(), seed=4)
    by_hand = fit(model, few(), replace(SHORT_CONFIG, epochs=1, seed=4)).accuracies
    assert first == {"accuracy": by_hand[-1], "accuracy@0": by_hand[0], "accuracy@1": by_hand[1]}
