"""Searches that are killed at every touch of their folder, one after another, and then brought to their end.

A touch is a file opened, renamed, removed or locked.

    moments.py FOLDER TRIALS

FOLDER/N is the search that was killed before its Nth touch, and again at some touch of its second run. A
network that was evaluated is added to FOLDER/N.done.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

SEARCH: Callable[..., None] = runpy.run_path(str(Path(__file__).with_name("searching.py")))["search"]
TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock")


def search(folder: Path, trials: int, kill_before: int) -> bool:
    """Search in a process of its own; whether it came to its end before the touch that kills it."""
    child = os.fork()
    if not child:
        touches = count(1)

        def touched(event: str, args: tuple[Any, ...]) -> None:
            its_own = event in TOUCHES and (event == "fcntl.flock" or str(folder) in str(args[0]))
            if its_own and next(touches) == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(touched)
        SEARCH(folder, "random", trials, seconds=0, kill_at=0)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status and not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        sys.exit(f"a search must end or be killed, but in {folder} it ended with {status}")
    return not status


def main(folder: Path, trials: int) -> None:
    for moment in count(1):
        study = folder / str(moment)
        ended = search(study, trials, moment)
        search(study, trials, 1 + 7 * moment % 41)
        if not search(study, trials, 0):
            sys.exit(f"the search that was killed at touch {moment} cannot be brought to its end")
        if ended:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
