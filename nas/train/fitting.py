"""Trains all exits of a network at once, in a way that an interruption does not change.

Every epoch draws from (seed, epoch) alone, so that a checkpoint needs no state of a random generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from nas.data import Data
from nas.errors import DataError, StudyError, TrainingError
from nas.model import Model
from nas.train.augmentation import augment, augmentation_for
from nas.train.config import TrainConfig
from nas.train.evaluation import accuracies
from nas.train.history import Epoch, History
from nas.train.lesson import Lesson
from nas.train.state import TrainingState
from nas.train.threads import torch_threads

__all__ = ["fit", "learning_rate"]

RECALIBRATION_BATCHES = 16  # of 64 images: a thousand are enough for the statistics of batch normalization


def fit(
    model: Model,
    data: Data,
    config: TrainConfig,
    *,
    teacher: Model | None = None,
    checkpoint: Path | str | None = None,
    until: int | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> History:
    """Train a model in place on the training images and leave it ready for evaluation.

    The model normalizes by their mean and deviation. With `checkpoint`, that file is written after every
    epoch, and a training that it holds is continued: the result is the same as without the interruption. It
    stops after `until` epochs of those of the config, if that is given. The `teacher`, for `distill` with
    that name, teaches what its last exit says of the same images.
    """
    graph, path = model.graph, Path(checkpoint) if checkpoint else None
    if (graph.input_shape, graph.num_classes) != (data.input_shape, data.num_classes):
        raise DataError(
            "a network must be built for the data, "
            f"but it is for images {graph.input_shape} of {graph.num_classes} classes, "
            f"and {data.name} has {data.input_shape} of {data.num_classes}; use space.at"
        )
    if teacher is model:
        raise StudyError(
            "a network must not be its own teacher, but is given as both; distill from its exits"
        )
    lesson = Lesson(config, graph, teacher)
    model.set_normalization(data.mean, data.std)
    with torch_threads(config.threads), torch.random.fork_rng(devices=[]), lesson.teaching():
        state = TrainingState(model, config)
        key = {
            "graph": graph.id,
            "data": data.hash,
            **config.to_json(),
            "threads": None,
            "teacher": lesson.teacher_hash,
        }
        epochs = state.load(path, key) if path and path.exists() else []
        for number in range(len(epochs), min(until or config.epochs, config.epochs)):
            loss = _train_epoch(state, data, lesson, number)
            found = accuracies(state.result, data.x_val, data.y_val, config.readout)
            epochs.append(Epoch(number, loss, found))
            if path:
                state.save(path, key, epochs)
            if on_epoch:
                on_epoch(epochs[-1])
    if state.average:
        model.set_weights(state.result.weights())
    model.eval()
    return History(tuple(epochs))


def _train_epoch(state: TrainingState, data: Data, lesson: Lesson, number: int) -> float:
    """One pass over the training images; the mean loss."""
    config = lesson.config
    seed = int(np.random.SeedSequence((config.seed, number)).generate_state(1, np.uint64)[0])
    torch.manual_seed(seed)  # for dropout
    draws = torch.Generator().manual_seed(seed)
    state.model.train()
    losses = []
    steps = _steps(data, config)
    for step, (x, y) in enumerate(_batches(data, config, draws)):
        loss = lesson.loss(state.model(x), x, y)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss must stay finite, but became {losses[-1]} at epoch {number}, step {step}; "
                f"lower the learning rate ({config.learning_rate})"
            )
        state.step(loss, learning_rate(config, number + step / steps, 1 / steps))
    if state.average:
        batches = islice(_batches(data, config, draws), RECALIBRATION_BATCHES)
        update_bn((x for x, _ in batches), state.average)
    return math.fsum(losses) / len(losses)


def _steps(data: Data, config: TrainConfig) -> int:
    """Per epoch; a last batch that is not full is left out, unless it is the only one."""
    return max(1, min(len(data.x_train), config.images or len(data.x_train)) // config.batch_size)


def _batches(data: Data, config: TrainConfig, draws: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Changed training images (N, C, H, W) and labels (N,), in an order drawn anew."""
    change = augmentation_for(config.augment, data.name)
    order = torch.randperm(len(data.x_train), generator=draws)[: config.images].numpy()
    size = config.batch_size
    for step in range(_steps(data, config)):
        chosen = order[step * size : (step + 1) * size]
        yield augment(torch.tensor(data.x_train[chosen]), change, draws), torch.tensor(data.y_train[chosen])


def learning_rate(config: TrainConfig, epoch: float, step: float) -> float:
    """Rises to its largest in the warm-up, then falls as a cosine; `step` is a step's length in epochs."""
    warmup = min(config.warmup_epochs, config.epochs / 10)
    if epoch < warmup:
        return config.learning_rate * min(1.0, (epoch + step) / warmup)
    progress = (epoch - warmup) / (config.epochs - warmup)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2
