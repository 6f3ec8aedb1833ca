"""One of several workers of a search: worker.py FOLDER SAMPLER TRIALS SECONDS.

Each evaluation takes that long, and adds its network to FOLDER.log when it ends.
"""

import sys
import time
from pathlib import Path

from killed import build

from nas.search import Maximize, Minimize, Study
from nas.space import Candidate, SearchSpace


def search(folder: Path, sampler: str, trials: int, seconds: float) -> None:
    def evaluate(candidate: Candidate) -> dict[str, float]:
        time.sleep(seconds)
        with folder.with_suffix(".log").open("a") as file:
            file.write(f"{candidate.id}\n")
        return {"accuracy": int(candidate.id[:6], 16) / 16**6}

    study = Study(
        SearchSpace(build, "tests:killed"),
        folder,
        objectives=[Maximize("accuracy"), Minimize("macs")],
        evaluate=evaluate,
        budget="macs<=20K",
        sampler=sampler,
    )
    for _ in study.run(trials=trials):
        pass


if __name__ == "__main__":
    search(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
