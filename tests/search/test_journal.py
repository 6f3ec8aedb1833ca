"""Holds that a study survives what can happen to its process and its folder, and that Optuna can open it."""

import errno
import json
import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.errors import StudyError
from nas.search import Maximize, Minimize, Study, StudyRecord, read_study
from nas.search.store import Store
from nas.space import Candidate, SearchSpace

SCRIPT = Path(__file__).with_name("searching.py")
ROOT = SCRIPT.parents[2]


def evaluate(candidate: Candidate) -> dict[str, float]:
    return {"accuracy": int(candidate.id[:6], 16) / 16**6}


@pytest.fixture
def study(space: SearchSpace, tmp_path: Path) -> Study:
    objectives = [Maximize("accuracy"), Minimize("macs")]
    return Study(
        space,
        tmp_path / "run",
        objectives=objectives,
        evaluate=evaluate,
        budget="macs<=20K",
        sampler="random",
    )


def run_script(folder: Path, sampler: str, kill_at: int) -> int:
    command = [sys.executable, str(SCRIPT), str(folder), sampler, "30", "--kill-at", str(kill_at)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def untimed(record: StudyRecord) -> StudyRecord:
    return replace(record, trials=tuple(replace(trial, seconds=0) for trial in record.trials))


def test_a_disk_that_fails_is_told_at_the_end_at_last(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    list(study.run(trials=1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StudyError, match="Input/output error"):
            list(study.run(trials=2))
    assert len(list(study.run(trials=3))) >= 1


@pytest.mark.parametrize(
    "sampler",
    ["random", *(pytest.param(name, marks=pytest.mark.slow) for name in ("known-cost", "tpe", "nsga2"))],
)
def test_killed_search_ends_as_an_uninterrupted_one(sampler: str, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kills = (7, 26)
    for kill_at in kills:
        assert run_script(killed, sampler, kill_at) == -9
    assert run_script(killed, sampler, 0) == 0
    assert run_script(whole, sampler, 0) == 0

    one, other = (untimed(read_study(folder)) for folder in (killed, whole))
    assert one == other
    assert len(one.front) > 1
    started = killed.with_suffix(".log").read_text().splitlines()
    assert len(started) == 30 + len(kills)
    assert len(set(started)) == 30, "only the evaluation that was killed begins again, with its own seed"


def test_torn_line_is_dropped(study: Study, space: SearchSpace, tmp_path: Path) -> None:
    stored = list(study.run(trials=5))
    journal = tmp_path / "run/study.journal"
    whole = journal.read_bytes()
    for cut in (1, 100, len(whole.splitlines(keepends=True)[-1]) - 1):
        journal.write_bytes(whole[:-cut])
        assert read_study(tmp_path / "run").trials == tuple(stored[:-1])
    assert [t.architecture for t in study.run(trials=5)] == [stored[-1].architecture]
    assert [t.architecture for t in read_study(tmp_path / "run").trials] == [t.architecture for t in stored]


def test_damaged_line_is_an_error(study: Study, tmp_path: Path) -> None:
    list(study.run(trials=3))
    journal = tmp_path / "run/study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:3], b"{]\n", *lines[4:]]))
    with pytest.raises(StudyError, match=r"line 4 is damaged"):
        read_study(tmp_path / "run")


def test_lost_lines_are_an_error(study: Study, tmp_path: Path) -> None:
    list(study.run(trials=4))
    journal = tmp_path / "run/study.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    trial = next(number for number, line in enumerate(lines) if b"user_attrs" in line)
    for left, message in (
        (lines[1:], "must hold the study tests:twins"),
        (lines[trial:], "must hold the study tests:twins"),
        (lines[:trial] + lines[trial + 1 :], "in place of trial 0 is trial 1"),
        ([*lines, lines[-1]], "must be stored without gaps"),
        ([b"[1]\n", *lines], "line 1 is damaged"),
        ([b"{}\n", *lines], "must be as Optuna writes it"),
    ):
        journal.write_bytes(b"".join(left))
        with pytest.raises(StudyError, match=message):
            read_study(tmp_path / "run")
        with pytest.raises(StudyError, match=message):
            next(study.run(trials=9))
        assert journal.read_bytes() == b"".join(left)


def test_crash_before_the_first_trial(study: Study, tmp_path: Path) -> None:
    Store(tmp_path / "run", study.settings, {})
    for left in ("study.journal", "study.json"):
        assert read_study(tmp_path / "run").trials == ()
        (tmp_path / "run" / left).unlink()
    assert len(list(study.run(trials=1))) >= 1


def test_no_study_in_folder(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"must hold study\.json"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(StudyError, match="damaged"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(StudyError, match="must be a JSON object"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(StudyError, match="format 1, but got 9"):
        read_study(tmp_path)


def test_folder_that_is_a_file(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    study = Study(space, path, objectives=[Maximize("accuracy")], evaluate=evaluate)
    with pytest.raises(StudyError, match="must be able to write"):
        next(study.run(trials=1))


def test_a_folder_that_cannot_be_written_to(study: Study, tmp_path: Path) -> None:
    list(study.run(trials=3))
    stored = (tmp_path / "run/study.journal").read_bytes()
    for path in (tmp_path / "run", tmp_path / "run/study.lock", tmp_path / "run/study.journal"):
        path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # whom nothing here belongs to
    try:
        with pytest.raises(StudyError, match=r"must be able to write to its folder, but .*denied"):
            next(study.run(trials=9))
    finally:
        os.seteuid(user)
    assert (tmp_path / "run/study.journal").read_bytes() == stored


@pytest.mark.parametrize("room", [1, 300, 700, 1500])
def test_no_room_on_the_disk(room: int, study: Study, tmp_path: Path) -> None:
    first = list(study.run(trials=4))
    journal = tmp_path / "run/study.journal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + room, before[1]))
    try:
        with pytest.raises(StudyError, match=r"must be able to write to its .*, but .*File too large"):
            list(study.run(trials=40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = read_study(tmp_path / "run").trials
    assert kept[: len(first)] == tuple(first)
    list(study.run(trials=12))
    evaluated = [trial.architecture.id for trial in study.trials if trial.evaluated]
    assert len(evaluated) == len(set(evaluated)) == 12
    assert study.trials[: len(kept)] == kept
    assert not list((tmp_path / "run/running").iterdir())


def test_optuna_sees_what_we_see(study: Study, tmp_path: Path) -> None:
    list(study.run(trials=20))
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "run/study.journal")))
    opened = optuna.load_study(study_name="tests:twins", storage=storage)
    assert {trial.number for trial in opened.best_trials} == {trial.number for trial in study.front}
    assert opened.metric_names == ["accuracy", "macs"]
    states = {"complete": "COMPLETE", "infeasible": "PRUNED", "repeat": "FAIL"}
    for ours, theirs in zip(study.trials, opened.trials, strict=True):
        assert theirs.state.name == states[ours.state]
        if ours.state != "repeat":
            excess = ours.values["macs"] / 20_000 - 1
            assert theirs.constraints["macs"] == excess
            assert theirs.system_attrs["constraints"] == [excess], "what optuna-dashboard reads"
    assert {trial.state for trial in study.trials} >= {"complete", "infeasible"}
