"""Settings of a training and what it records: stored as JSON, and checked."""

import json
import re
from typing import Any

import numpy as np
import pytest

from nas.errors import StudyError
from nas.train import Epoch, History, TrainConfig


def test_settings_read_back_equal() -> None:
    config = TrainConfig(epochs=3, optimizer="adamw", images=500, augment="none")
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_history_reads_back_equal() -> None:
    history = History((Epoch(0, 2.5, (0.1, 0.2)), Epoch(1, 0.1 + 0.2, (1 / 3, 0.5))))
    assert History.from_json(json.loads(json.dumps(history.to_json()))) == history
    assert history.accuracies == (1 / 3, 0.5)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("epochs", 0, "at least 1"),
        ("batch_size", 1, "at least 2, for batch normalization"),
        ("optimizer", "lion", "one of sgd, adamw"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "above 0"),
        ("momentum", 1.0, "from 0 to below 1"),
        ("weight_decay", -1.0, "at least 0"),
        ("warmup_epochs", -1.0, "at least 0"),
        ("label_smoothing", 1.0, "from 0 to below 1"),
        ("augment", "mixup", "one of auto, none, shift, shift-flip"),
        ("exit_loss", "mean", "one of sum, weighted, early-weighted"),
        ("combine", "mean", "one of last, sum"),
        ("gradients", "mean", "one of sum, equilibrium"),
        ("distill", "first", "one of none, last, ensemble, teacher"),
        ("distill_weight", -1.0, "at least 0"),
        ("distill_temperature", 0.0, "above 0"),
        ("ema_decay", 1.0, "from 0 to below 1"),
        ("seed", -1, "at least 0"),
        ("threads", 0, "at least 1"),
        ("images", 1, "at least 2, or None"),
    ],
)
def test_settings_must_hold_their_rules(name: str, value: Any, rule: str) -> None:
    with pytest.raises(StudyError, match=f"^{name} must be {rule}, but got {value!r}; change it$"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("epochs", 1.5, "int"),
        ("epochs", "3", "int"),
        ("batch_size", np.float64(8), "int"),
        ("seed", True, "int"),
        ("learning_rate", "0.1", "float"),
        ("optimizer", None, "str"),
        ("augment", ["none"], "str"),
        ("images", 70.0, "int | None"),
    ],
)
def test_settings_must_be_of_their_type(name: str, value: Any, kind: str) -> None:
    message = f"{name} must be of type {kind}, but got {value!r}; change it"
    with pytest.raises(StudyError, match=f"^{re.escape(message)}$"):
        TrainConfig(**{name: value})


def test_numbers_stand_for_floats() -> None:
    config = TrainConfig(learning_rate=1, weight_decay=np.float64(0.5))
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_unknown_settings() -> None:
    with pytest.raises(StudyError, match="unexpected keyword argument 'lr'"):
        TrainConfig.from_json({"lr": 1})
