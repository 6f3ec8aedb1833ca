"""One training of the benchmark, and what its network then says of validation and test images.

As a program: dynamic_train.py TASK KEY FOLDER, which goes on with what the folder holds and ends with
code 3 where it is not done after its turn.
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from dynamic_data import TASKS, Task
from dynamic_finals import finals, level_finals
from dynamic_search import TURN_S, UNFINISHED
from dynamic_systems import CHOSEN, Training, trainings

from nas import SearchSpace, load_space
from nas.files import save_json
from nas.graph import Graph
from nas.model import Model
from nas.train import Epoch, fit, predict

__all__ = ["LOGITS", "WEIGHTS", "graph_of"]

LOGITS, WEIGHTS = "logits.npz", "model.safetensors"


class _TurnIsOverError(Exception):
    pass


def graph_of(training: Training) -> Graph:
    architecture = training.architecture
    space = load_space(architecture.space)
    assert isinstance(space, SearchSpace), architecture.space
    return space.graph(architecture)


def train(task: Task, training: Training, folder: Path) -> None:
    """Train a network for a turn, or to its end, when it and what it says are kept."""
    place, data, began = training.place(folder), task.data, time.monotonic()
    model = Model(graph_of(training), seed=training.seed)
    teacher = Model.load(training.teacher.place(folder) / WEIGHTS) if training.teacher else None

    def tell(epoch: Epoch) -> None:
        accuracies = [round(accuracy, 4) for accuracy in epoch.accuracies]
        seconds = time.monotonic() - began
        print(
            f"{training.name} epoch {epoch.number} {accuracies} {seconds:.0f} s", file=sys.stderr, flush=True
        )
        if seconds > TURN_S and epoch.number + 1 < training.config.epochs:
            raise _TurnIsOverError

    checkpoint = place / "checkpoint.safetensors"
    history = fit(model, data, training.config, teacher=teacher, checkpoint=checkpoint, on_epoch=tell)
    model.save(place / WEIGHTS)
    said = {part: np.stack(predict(model, getattr(data, f"x_{part}"))) for part in ("val", "test")}
    np.savez(place / LOGITS, allow_pickle=False, **said)
    save_json(training.done(folder), {"val": history.accuracies, "seconds": time.monotonic() - began})
    checkpoint.unlink(missing_ok=True)


def _known(task: Task, folder: Path) -> Iterator[Training]:
    """All trainings that can be told by what is there; after the choice no more is asked of the searches."""
    if (folder / CHOSEN).exists():
        yield from trainings(task, folder)
    yield from finals(task, folder)
    yield from chain(*level_finals(task, folder))


def main(name: str, wanted: str, folder: str) -> int:
    torch.set_num_threads(1)
    task = TASKS[name]
    training = next(each for each in _known(task, Path(folder)) if each.key == wanted)
    place = training.place(Path(folder))
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # which a job may hold that its killed parent has left behind
        if not training.done(Path(folder)).exists():
            try:
                train(task, training, Path(folder))
            except _TurnIsOverError:
                return UNFINISHED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
