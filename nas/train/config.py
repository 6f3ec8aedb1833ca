"""The settings of a training, as one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType, NoneType
from typing import Any, final

from nas.bundle import Readout
from nas.errors import StudyError
from nas.train.augmentation import AUGMENTATIONS
from nas.train.distillation import TEACHERS
from nas.train.equilibrium import GRADIENTS
from nas.train.losses import ANSWERS, EXIT_LOSSES

__all__ = ["TrainConfig"]

OPTIMIZERS = ("sgd", "adamw")
KINDS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"int": (int,), "int | None": (int, NoneType), "float": (int, float), "str": (str,)}
)
"""By a setting's annotation: the types of its values."""


@final
@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained: with a learning rate that falls as a cosine to 0 after a linear warm-up.

    A setting that breaks its rule is a StudyError: nothing has been trained yet.
    """

    epochs: int = 30
    batch_size: int = 64
    optimizer: str = "sgd"
    """`sgd` or `adamw`."""
    learning_rate: float = 0.1
    momentum: float = 0.9
    """Of `sgd`, after Nesterov."""
    weight_decay: float = 5e-4
    """Of weights; biases and batch normalization have none."""
    warmup_epochs: float = 1.0
    """At most a tenth of all epochs."""
    label_smoothing: float = 0.1
    augment: str = "auto"
    """A name in `nas.train.augmentation.AUGMENTATIONS`, or `auto`: what the data's name stands for."""
    exit_loss: str = "sum"
    """A name in `nas.train.losses.EXIT_LOSSES`."""
    combine: str = "last"
    """A name in `nas.train.losses.ANSWERS`: with `sum` exits are additive, each corrects those before."""
    gradients: str = "sum"
    """A name in `nas.train.equilibrium.GRADIENTS`; `adamw`, which divides by their size, hardly feels it."""
    distill: str = "none"
    """A name in `nas.train.distillation.TEACHERS` of whom exits learn beside the labels, or `none`."""
    distill_weight: float = 1.0
    """How much that counts at each exit, whatever `exit_loss` makes of the labels, which count 1 on
    average."""
    distill_temperature: float = 2.0
    """What logits are divided by for it."""
    ema_decay: float = 0.0
    """Share kept, at each step, of a moving average of the weights, which then is the result; 0 for none."""
    seed: int = 0
    threads: int = 1
    images: int | None = None
    """Training images used per epoch, drawn anew; all of them if None."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), str(setting.type)
            if isinstance(value, bool) or not isinstance(value, KINDS[kind]):
                raise StudyError(f"{setting.name} must be of type {kind}, but got {value!r}; change it")
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 2, "at least 2, for batch normalization"),
            "optimizer": (self.optimizer in OPTIMIZERS, _one_of(OPTIMIZERS)),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "warmup_epochs": (0 <= self.warmup_epochs < math.inf, "at least 0"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to below 1"),
            "augment": (self.augment in ("auto", *AUGMENTATIONS), _one_of(("auto", *AUGMENTATIONS))),
            "exit_loss": (self.exit_loss in EXIT_LOSSES, _one_of(tuple(EXIT_LOSSES))),
            "combine": (self.combine in ANSWERS, _one_of(tuple(ANSWERS))),
            "gradients": (self.gradients in GRADIENTS, _one_of(tuple(GRADIENTS))),
            "distill": (self.distill in ("none", *TEACHERS), _one_of(("none", *TEACHERS))),
            "distill_weight": (0 <= self.distill_weight < math.inf, "at least 0"),
            "distill_temperature": (0 < self.distill_temperature < math.inf, "above 0"),
            "ema_decay": (0 <= self.ema_decay < 1, "from 0 to below 1"),
            "seed": (self.seed >= 0, "at least 0"),
            "threads": (self.threads >= 1, "at least 1"),
            "images": (self.images is None or self.images >= 2, "at least 2, or None"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise StudyError(f"{name} must be {rule}, but got {getattr(self, name)!r}; change it")

    @property
    def readout(self) -> Readout:
        """How the heads of a network trained so answer."""
        return Readout(combine=self.combine)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> TrainConfig:
        try:
            return TrainConfig(**values)
        except TypeError as error:
            raise StudyError(
                f"a training must be set by the fields of TrainConfig, but got: {error}; correct them"
            ) from None


def _one_of(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}"
