"""A search on a cluster in a process of its own: clustered.py FOLDER ADDRESS TRIALS.

Each evaluation adds its network to FOLDER.log when it ends.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from nas.search import Maximize, Minimize, Study
from nas.search.cluster import run_on_ray
from nas.space import Candidate, SearchSpace
from search_spaces.tiny import space as tiny

SPACE: SearchSpace = tiny.at((1, 8, 8), 10)


def log_of(folder: Path) -> Path:
    return folder.with_suffix(".log")


def evaluate(folder: Path, seconds: float) -> Callable[..., dict[str, float]]:
    """Takes so long; better with more epochs, if there are any."""
    log = log_of(folder)

    def evaluate(
        candidate: Candidate, *, epochs: int = 0, checkpoint: Path | None = None
    ) -> dict[str, float]:
        time.sleep(seconds)
        with log.open("a") as file:
            file.write(f"{candidate.id}\n")
        return {"accuracy": int(candidate.id[:6], 16) / 16**6 + epochs / 100}

    return evaluate


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    study = Study(
        SPACE,
        folder,
        objectives=[Maximize("accuracy"), Minimize("macs")],
        evaluate=evaluate(folder, 0.3),
        sampler="random",
    )
    run_on_ray(study, trials=int(sys.argv[3]), address=sys.argv[2])
