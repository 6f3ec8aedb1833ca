"""Holds that several processes may search in one folder, and that none of them is missed when it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import StudyError
from nas.search import Study, read_study
from nas.search.claim import Claim
from nas.space import SearchSpace

Start = Callable[..., Study]

SCRIPT = Path(__file__).with_name("searching.py")
ROOT = SCRIPT.parents[2]
TRIALS = 16


def begin(folder: Path, sampler: str, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(SCRIPT), str(folder), sampler, str(TRIALS), "--seconds", str(seconds)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})


def asked_and_left(study: Study) -> tuple[Claim, Path]:
    """The first network of a study, and its claim as a worker that has ended leaves it."""
    claim = study.ask()
    assert claim is not None
    path = study.folder / f"running/{claim.draw:06}.json"
    text = path.read_text()
    study.give_up(claim)
    path.write_text(text)
    return claim, path


def trained(folder: Path) -> Counter[str]:
    """How often each network was trained to the end."""
    log = folder.with_suffix(".done")
    return Counter(log.read_text().split() if log.exists() else [])


@pytest.mark.parametrize("sampler", ["known-cost", pytest.param("tpe", marks=pytest.mark.slow)])
def test_workers_share_the_work(sampler: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    workers = [begin(folder, sampler, 0.1) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    trials = read_study(folder).trials
    evaluated = [trial.architecture.id for trial in trials if trial.evaluated]
    assert len(evaluated) == len(set(evaluated)) == TRIALS
    assert trained(folder) == Counter(evaluated)
    assert sorted(trial.draw for trial in trials) == list(range(len(trials)))
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert not list((folder / "running").iterdir())


def test_what_a_killed_worker_had_begun_another_evaluates(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stuck = begin(folder, "random", 600)
    claim = folder / "running/000000.json"
    while not claim.exists() or not claim.read_text().endswith("\n"):
        time.sleep(0.02)
    begun = json.loads(claim.read_text())["architecture"]["id"]
    other = begin(folder, "random", 0.01)
    while sum(trained(folder).values()) < TRIALS - 1:
        time.sleep(0.05)
    assert other.poll() is None, "it waits for the last network, which is another's"
    stuck.send_signal(signal.SIGKILL)
    stuck.wait()
    assert other.wait(30) == 0
    trials = read_study(folder).trials
    assert sum(trial.evaluated for trial in trials) == TRIALS
    assert trained(folder)[begun] == 1
    assert max(trained(folder).values()) == 1


def test_killed_at_any_touch_of_its_folder(tmp_path: Path) -> None:
    script = SCRIPT.with_name("moments.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(script), str(tmp_path), "4"], env=environment, check=True)
    moments = sorted((path for path in tmp_path.iterdir() if path.is_dir()), key=lambda path: int(path.name))
    assert len(moments) > 60, "opening, and four networks"
    whole = read_study(moments[-1]).trials
    for folder in moments:
        found = read_study(folder).trials
        assert [(trial.architecture, trial.state, trial.values) for trial in found] == [
            (trial.architecture, trial.state, trial.values) for trial in whole
        ]
        assert not list((folder / "running").iterdir())
        stored = Counter(trial.architecture.id for trial in found if trial.evaluated)
        assert trained(folder) == stored, "what an evaluation has given is never asked for again"


def test_a_result_is_not_lost_between_training_and_storing(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    claim, path = asked_and_left(start(space, tmp_path / "run"))
    text = path.read_text()
    result = {"values": {"accuracy": 0.75}, "reason": "", "seconds": 3.0}
    path.write_text(text + json.dumps(result) + "\n")
    trials = list(start(space, tmp_path / "run", evaluate=lambda candidate: {"accuracy": 0.0}).run(trials=2))
    assert (trials[0].architecture, trials[0].values["accuracy"], trials[0].seconds) == (
        claim.candidate.architecture,
        0.75,
        3.0,
    )
    assert trials[-1].values["accuracy"] == 0.0


def test_what_an_evaluation_forked_holds_no_claim(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from nas.search.claims import Claims
claims, others = Claims(Path(sys.argv[1])), Claims(Path(sys.argv[1]))
claims.take(0, {})
child = os.fork()
if not child:
    time.sleep(60)
time.sleep(0.2)
assert 0 in others.running(), "the child closes it, but does not unlock it"
claims.leave(0)
found = others.abandoned()
os.kill(child, 9)
assert 0 in found
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=True)


def test_a_network_that_has_ended_three_workers_waits_for_the_others(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    claim, path = asked_and_left(start(space, tmp_path / "run"))
    values = json.loads(path.read_text())
    for attempt, place in ((1, 0), (2, 4)):
        folder = tmp_path / f"after {attempt}"
        shutil.copytree(tmp_path / "run", folder)
        (folder / "running/000000.json").write_text(
            json.dumps(values | {"here": True, "attempt": attempt}) + "\n"
        )
        evaluated = [trial for trial in start(space, folder).run(trials=5) if trial.evaluated]
        ids = [trial.architecture.id for trial in evaluated]
        assert ids.index(claim.candidate.id) == place
        assert len(set(ids)) == 5
        assert evaluated[place].draw == 0


@pytest.mark.parametrize("left", ["", "{", '{"draw": 0}'], ids=["empty", "torn", "unfinished line"])
def test_a_claim_that_was_not_written_to_the_end_is_drawn_again(
    left: str, space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "run/running").mkdir(parents=True)
    (tmp_path / "run/running/000000.json").write_text(left)
    found = list(start(space, tmp_path / "run").run(trials=3))
    assert [trial.architecture for trial in found] == [
        trial.architecture for trial in start(space, tmp_path / "whole").run(trials=3)
    ]


@pytest.mark.parametrize("here", [True, False])
def test_a_network_that_ends_every_worker_that_evaluates_it_has_failed(
    here: bool, space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    _, path = asked_and_left(start(space, tmp_path / "run"))
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"here": here, "attempt": 5}) + "\n")
    first = next(start(space, tmp_path / "run").run(trials=2))
    if here:
        assert first.state == "failed"
        assert first.reason == "its evaluation has ended its process 6 times"
    else:
        assert first.state == "complete", "a process that only asked was not ended by it"


def test_asking_and_telling(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    study = start(space, tmp_path / "run")
    claims = [study.ask() for _ in range(4)]
    ids = {claim.candidate.id for claim in claims if claim}
    assert len(ids) == 4
    assert study.trials == () or all(not trial.evaluated for trial in study.trials)
    for number, claim in enumerate(claims):
        assert claim is not None
        result = RuntimeError("no memory") if number == 1 else {"accuracy": number / 4}
        trial = study.tell(claim, result, seconds=number)
        assert (trial.architecture.id, trial.seconds) == (claim.candidate.id, number)
        assert trial.state == ("failed" if number == 1 else "complete")
    last = study.ask()
    assert last is not None
    with pytest.raises(StudyError, match="accuracy is not among loss"):
        study.tell(last, {"loss": 1.0})
    study.give_up(last)
    assert read_study(tmp_path / "run").trials == study.trials


def test_asking_to_the_end(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    study = start(space, tmp_path / "run", budget="macs<=600", sampler="known-cost")
    claims = []
    while (claim := study.ask()) is not None:
        claims.append(claim)
    assert not study.exhausted, "others may be found once those asked are told"
    for claim in claims:
        study.tell(claim, {"accuracy": 0.5})
    assert study.ask() is None
    assert study.exhausted


def test_what_is_asked_must_be_told_first(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    study = start(space, tmp_path / "run")
    claim = study.ask()
    assert claim is not None
    with pytest.raises(StudyError, match="must be told before a run"):
        next(study.run(trials=2))
    study.tell(claim, {"accuracy": 0.5})
    with pytest.raises(StudyError, match="must be told once, by who asked it, but 0 is not claimed here"):
        study.tell(claim, {"accuracy": 0.5})
    assert len(list(study.run(trials=2))) >= 1


def test_a_repeat_of_what_runs_hides_nothing(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    study = start(space, tmp_path / "run", sampler="tpe")
    claims = [study.ask() for _ in range(12)]
    repeats = [trial for trial in study.trials if trial.state == "repeat"]
    assert repeats, "random proposals of a small space"
    for claim in claims:
        assert claim is not None
        study.tell(claim, {"accuracy": 0.5})
    later = list(study.run(trials=16))
    known = {trial.number: trial.state for trial in study.trials}
    for trial in later:
        if trial.state == "repeat":
            assert known[int(trial.reason.split()[-1])] == "complete"
