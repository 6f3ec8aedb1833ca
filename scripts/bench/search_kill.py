"""Searches whose processes are killed at random moments, and what is missing or done again afterwards.

As a program it is one worker: search_kill.py FOLDER SAMPLER.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import twins
from record import ROOT, Record, Row

from nas import Candidate
from nas.cost import Cost
from nas.search import Maximize, Minimize, Study, read_study

FILE = "kills.csv"
TRIALS = 24
KILLS = 2  # of each process, at most
AGAIN = "again"
WORKERS = (1, 2, 4)
SAMPLERS = ("known-cost", "random", "tpe", "nsga2")
TIMEOUT_S = 120


def collect(record: Record, *, runs: int) -> None:
    """One row per search that was killed, once or several times, and then finished."""
    for number in range(len(record.rows(FILE)), runs):
        workers = WORKERS[number % len(WORKERS)]
        sampler = SAMPLERS[number // len(WORKERS) % len(SAMPLERS)]
        record.add(
            FILE, {"run": number, "workers": workers, "sampler": sampler, **_run(workers, sampler, number)}
        )


def _run(workers: int, sampler: str, seed: int) -> dict[str, object]:
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        running = [_start(folder, sampler) for _ in range(workers)]
        kills, stored, end = 0, set[str](), time.monotonic() + TIMEOUT_S
        while kills < KILLS * workers and time.monotonic() < end:
            victim = rng.randrange(workers)
            if not _reach_inside(running[victim], folder, end):
                break  # it has come to its end, well or not: see below
            time.sleep(rng.uniform(0, 0.3))
            running[victim].kill()
            if running[victim].wait() != -signal.SIGKILL:
                break
            kills += 1
            stored |= _stored(folder)
            running[victim] = _start(folder, sampler)
        stuck = sum(_wait(process, end) != 0 for process in running)
        return {"kills": kills, **_faults(folder, stored, stuck)}


def _reach_inside(process: subprocess.Popen[bytes], folder: Path, end: float) -> bool:
    """Wait until a process has a file of the folder open; False where it ends, or time does, before."""
    while process.poll() is None and time.monotonic() < end:
        for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
            with suppress(OSError):
                if descriptor.readlink().is_relative_to(folder):
                    return True
        time.sleep(0.005)
    return False


def _start(folder: Path, sampler: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, str(folder), sampler]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def _wait(process: subprocess.Popen[bytes], end: float) -> int:
    try:
        return process.wait(max(0.1, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _stored(folder: Path) -> set[str]:
    """Networks with a result in the folder; it must open at any moment."""
    if not (folder / "study.json").exists():
        return set()
    return {trial.architecture.id for trial in read_study(folder).trials if trial.evaluated}


def _has_result(folder: Path, network: str) -> bool:
    """Whether the folder holds what a training of this network gave, in the journal or in a claim."""
    claims = [path.read_text().splitlines() for path in (folder / "running").glob("*.json")]
    told = any(len(lines) > 1 and network in lines[0] for lines in claims)
    return told or network in _stored(folder)


def _faults(folder: Path, stored: set[str], stuck: int) -> dict[str, object]:
    """What was stored once and is lost, trained or stored again, or left unfinished."""
    trials = read_study(folder).trials
    complete = [trial.architecture.id for trial in trials if trial.state == "complete"]
    log = Counter(folder.with_suffix(".log").read_text().split())
    stored_twice = len(complete) - len(set(complete))
    return {
        "evaluated": len(complete),
        "lost": len(stored - set(complete)) + abs(TRIALS - len(complete)),
        "repeated": log.pop(AGAIN, 0) + stored_twice,
        "untold": sum(count > 1 for count in log.values()),
        "failures": "; ".join(trial.reason for trial in trials if trial.state == "failed"),
        "stuck": stuck + len(list((folder / "running").glob("*"))),
    }


def figures(rows: list[Row]) -> dict[str, int]:
    """Totals over all runs."""
    total = {key: sum(int(row[key]) for row in rows) for key in ("lost", "repeated", "stuck", "kills")}
    return {
        "kill9_runs": len(rows),
        "kill9_kills": total["kills"],
        **{f"kill9_{key}": total[key] for key in ("lost", "repeated", "stuck")},
    }


def work(folder: Path, sampler: str) -> None:
    """Search as one worker; each training takes some time and leaves a line when it ends."""

    def evaluate(candidate: Candidate) -> dict[str, float]:
        rng, needless = Random(candidate.seed), _has_result(folder, candidate.id)
        time.sleep(rng.uniform(0.05, 0.5))
        with folder.with_suffix(".log").open("a") as log:
            log.write(f"{candidate.id}\n" + f"{AGAIN}\n" * needless)
        return {"accuracy": Cost.of(candidate.graph).params ** 0.5 / 100 + rng.uniform(0, 0.01)}

    objectives = [Maximize("accuracy"), Minimize("macs")]
    study = Study(
        twins.space, folder, objectives=objectives, evaluate=evaluate, sampler=sampler, budget="macs<=60K"
    )
    for _ in study.run(trials=TRIALS):
        pass


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
