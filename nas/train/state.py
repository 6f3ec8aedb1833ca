"""What changes in training, and its checkpoints: weights, optimizer and the weights' moving average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nas.errors import SpaceError, StudyError
from nas.model import Model
from nas.stored import read_tensors, write_tensors
from nas.train.config import TrainConfig
from nas.train.equilibrium import GRADIENTS
from nas.train.history import Epoch, History

__all__ = ["TrainingState"]

FILE_FORMAT = "nas-checkpoint-1"


@final
class TrainingState:
    """A model in training, its optimizer, and the moving average of its weights if the config wants one."""

    def __init__(self, model: Model, config: TrainConfig) -> None:
        self.model = model
        self.optimizer = _optimizer(model, config)
        shares, named = GRADIENTS[config.gradients](model.graph), dict(model.named_parameters())
        self._shares = [(named[name], share) for name, share in shares.items() if share < 1]
        self.average: AveragedModel | None = None
        if config.ema_decay:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))

    @property
    def result(self) -> Model:
        """The network that the training gives."""
        return cast(Model, self.average.module) if self.average else self.model

    def step(self, loss: Tensor, learning_rate: float) -> None:
        """Change the weights so that the loss falls."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad()
        loss.backward()
        for parameter, share in self._shares:
            if parameter.grad is not None:
                parameter.grad.mul_(share)
        self.optimizer.step()
        if self.average:
            self.average.update_parameters(self.model)

    def save(self, path: Path, key: Mapping[str, Any], epochs: Sequence[Epoch]) -> None:
        """Write everything to one file; `key` says what is being trained how."""
        write_tensors(
            path, self._tensors(), FILE_FORMAT, {"key": key, "epochs": [asdict(epoch) for epoch in epochs]}
        )

    def load(self, path: Path, key: Mapping[str, Any]) -> list[Epoch]:
        """Take over everything from a file of the same training; the epochs done so far.

        StudyError where the file is damaged or of another training.
        """
        try:
            tensors, values = read_tensors(path, FILE_FORMAT)
        except SpaceError as error:
            raise StudyError(str(error)) from None
        differing = sorted(name for name in key if key[name] != values["key"].get(name))
        if differing:
            name = differing[0]
            raise StudyError(
                f"checkpoint {path} must be of this training, but its {name} is {values['key'].get(name)} "
                f"and not {key[name]}; remove the file or train as before"
            )
        self._take(tensors)
        return list(History.from_json(values).epochs)

    def _tensors(self) -> dict[str, NDArray[Any]]:
        tensors: dict[str, NDArray[Any]] = {
            f"model/{key}": value for key, value in self.model.weights().items()
        }
        if self.average:
            tensors |= {f"average/{key}": value for key, value in self.result.weights().items()}
            tensors["averaged_steps"] = self.average.n_averaged.numpy()
        for index, parameter in enumerate(self._parameters()):
            for name, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{index}/{name}"] = np.array(value.cpu().numpy(), order="C")
        return tensors

    def _take(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.model.set_weights(_below("model/", tensors))
        if self.average:
            self.result.set_weights(_below("average/", tensors))
            self.average.n_averaged.copy_(torch.tensor(tensors["averaged_steps"]))
        for index, parameter in enumerate(self._parameters()):
            state = self.optimizer.state[parameter]
            for name, value in _below(f"optimizer/{index}/", tensors).items():
                # Fused steps need the memory format of the parameter, too.
                like = parameter if value.shape == parameter.shape else torch.tensor(value)
                state[name] = torch.empty_like(like, requires_grad=False).copy_(torch.tensor(value))

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _below(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _optimizer(model: Model, config: TrainConfig) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused steps take a tenth of the time where layers are small.
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    momentum, nesterov = config.momentum, config.momentum > 0
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum, nesterov=nesterov, fused=True)
