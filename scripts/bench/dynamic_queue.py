"""Runs jobs side by side, each in a process of its own, until all are done; what is interrupted goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from dynamic_search import UNFINISHED

__all__ = ["Job", "run_jobs"]

WAIT_S = 0.5


@final
@dataclass(frozen=True)
class Job:
    """A program of this folder with its arguments. It is done where this file is there."""

    program: str
    arguments: tuple[str, ...]
    done: Path
    after: Path | None = None
    """A file that must be there before it begins."""

    @property
    def ready(self) -> bool:
        return self.after is None or self.after.exists()


def run_jobs(jobs: Sequence[Job], on_end: Callable[[], None] | None = None) -> None:
    """As many at a time as there are processors; `RuntimeError` where one fails, once the others end.

    After some have ended, `on_end` is called.
    """
    waiting = [job for job in jobs if not job.done.exists()]
    running: dict[subprocess.Popen[bytes], Job] = {}
    failed: list[Job] = []
    try:
        while waiting or running:
            free = (os.cpu_count() or 1) - len(running)
            _begin(waiting, running, free if not failed else 0)
            if not running:
                break
            time.sleep(WAIT_S)
            ended = _ended(running)
            waiting[:0] = [job for job, code in ended if code == UNFINISHED]
            failed += [job for job, code in ended if code not in (0, UNFINISHED)]
            if ended and on_end:
                on_end()
    finally:  # an interruption ends them too; they go on from their checkpoints
        for process in running:
            process.terminate()
    _check(failed or waiting)


def _begin(waiting: list[Job], running: dict[subprocess.Popen[bytes], Job], count: int) -> None:
    """As many as this of those that are ready."""
    for job in [job for job in waiting if job.ready][:count]:
        waiting.remove(job)
        running[_begun(job)] = job


def _check(bad: Sequence[Job]) -> None:
    if bad:
        raise RuntimeError(f"jobs must end well, but did not: {[job.arguments for job in bad]}")


def _ended(running: dict[subprocess.Popen[bytes], Job]) -> list[tuple[Job, int]]:
    """Those that no longer run, taken out, with their codes."""
    ended = [process for process in running if process.poll() is not None]
    return [(running.pop(process), process.returncode) for process in ended]


def _begun(job: Job) -> subprocess.Popen[bytes]:
    program = Path(__file__).parent / f"{job.program}.py"
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(program), *job.arguments], env=one_thread)
