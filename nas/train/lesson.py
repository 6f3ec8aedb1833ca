"""What a network is taught at each step, from the settings of its training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor

from nas.errors import StudyError
from nas.graph import Graph
from nas.model import Model
from nas.op import Shape
from nas.train.config import TrainConfig
from nas.train.distillation import TEACHERS, distillation_loss
from nas.train.losses import ANSWERS, EXIT_LOSSES

__all__ = ["Lesson", "check_teacher"]


@final
class Lesson:
    """The loss of a training, whose teacher, if it has one, sees the same images."""

    def __init__(self, config: TrainConfig, graph: Graph, teacher: Model | None) -> None:
        check_teacher(config, teacher, input_shape=graph.input_shape, num_classes=graph.num_classes)
        self.config = config
        self._teacher = teacher if config.distill == "teacher" else None

    @contextmanager
    def teaching(self) -> Iterator[None]:
        """The teacher answers as it was trained meanwhile, and is left as it was."""
        modes = {part: part.training for part in self._teacher.modules()} if self._teacher else {}
        try:
            if self._teacher is not None:
                self._teacher.eval()
            yield
        finally:
            for part, training in modes.items():
                part.training = training

    @property
    def teacher_hash(self) -> str | None:
        """What tells one teacher from another, None where there is none."""
        if self._teacher is None:
            return None
        digest = hashlib.sha256(self._teacher.graph.id.encode())
        for name, values in sorted(self._teacher.weights().items()):
            digest.update(name.encode())
            digest.update(values.tobytes())
        return digest.hexdigest()[:16]

    def loss(self, logits: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
        """One number, from the logits (N, K) of all heads, images (N, C, H, W) and their labels (N,)."""
        config = self.config
        answers = ANSWERS[config.combine](logits)
        loss = EXIT_LOSSES[config.exit_loss](answers, y, config.label_smoothing)
        if config.distill == "none":
            return loss
        target = TEACHERS[config.distill](answers, self._taught(x), config.distill_temperature)
        taught = distillation_loss(answers, target, config.distill_temperature)
        return loss + config.distill_weight * taught

    def _taught(self, x: Tensor) -> Tensor | None:
        if self._teacher is None:
            return None
        with torch.no_grad():
            logits: Tensor = self._teacher(x)[-1]
        return logits


def check_teacher(
    config: TrainConfig, teacher: Model | None, *, input_shape: Shape, num_classes: int
) -> None:
    """`StudyError` unless there is a teacher just where the settings want one, and it fits the data."""
    if (config.distill == "teacher") != (teacher is not None):
        found = "none" if teacher is None else f"one with distill={config.distill!r}"
        raise StudyError(
            f"a teacher must be given with distill='teacher', and only then, but got {found}; "
            "change one of both"
        )
    if teacher is None:
        return
    wanted = input_shape, num_classes
    found_shape = teacher.graph.input_shape, teacher.graph.num_classes
    if found_shape != wanted:
        raise StudyError(
            f"a teacher must have the network's image shape and classes, {wanted}, but has {found_shape}; "
            "train one on the same data"
        )
