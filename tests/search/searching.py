"""A search in a process of its own, which may kill itself in the middle of an evaluation.

    searching.py FOLDER SAMPLER TRIALS [--seconds SECONDS] [--kill-at EVALUATION]

Each evaluation takes so many seconds. It adds its network and its seed to FOLDER.log when it begins, and
its network to FOLDER.done when it ends.
"""

import os
import signal
import time
from argparse import ArgumentParser
from pathlib import Path

from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.search import Maximize, Minimize, Study
from nas.space import Candidate, SearchSpace


def head(x: Feature, classes: int) -> Feature:
    return linear(global_avg_pool(x), classes)


def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
    x = net.input(input_shape)
    for index in range(net.choice("depth", 1, 2, 3)):
        with net.scope(f"layer{index}"):
            x = conv(x, net.choice("width", 2, 4, 6, 8), kernel_size=net.choice("kernel", 1, 3, 5))
            net.choice("unused", "a", "b")
    net.exit(head, x, num_classes)


def search(folder: Path, sampler: str, trials: int, *, seconds: float, kill_at: int) -> None:
    log, done = folder.with_suffix(".log"), folder.with_suffix(".done")

    def evaluate(candidate: Candidate) -> dict[str, float]:
        with log.open("a") as file:
            file.write(f"{candidate.id} {candidate.seed}\n")
        if len(log.read_text().splitlines()) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        with done.open("a") as file:
            file.write(f"{candidate.id}\n")
        return {"accuracy": int(candidate.id[:6], 16) / 16**6 + candidate.seed / 2**40}

    objectives = [Maximize("accuracy"), Minimize("macs")]
    study = Study(
        SearchSpace(build, "tests:killed"),
        folder,
        objectives=objectives,
        evaluate=evaluate,
        budget="macs<=20K",
        sampler=sampler,
        seed=5,
    )
    for _ in study.run(trials=trials):
        pass


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("sampler")
    parser.add_argument("trials", type=int)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--kill-at", type=int, default=0)
    search(**vars(parser.parse_args()))
