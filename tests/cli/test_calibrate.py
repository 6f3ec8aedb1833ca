"""Calibrations made by command: what the file holds, and what a search does with it."""

import json
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.cli import main
from nas.latency import Calibration, LocalTarget, Measured, Target, Timing, measure_exits
from nas.latency.predictor import LayerPredictor
from nas.latency.recorded import Recorder
from nas.latency.target import Inputs
from nas.search import read_study
from nas.space import Architecture, Candidate, SearchSpace, load_space

Nas = Callable[..., str]
Record = Callable[..., Path]
Start = Callable[..., subprocess.Popen[str]]
SPACE = "user_spaces:space"
NETWORKS = 8  # of that space
NEW = ("--data", "digits", "--epochs", 1, "--sampler", "random")

AGENT = """
import nas.latency.local
nas.latency.local.chip_name = lambda: "another chip"
from nas.cli import main
main(["agent", "--port", "0"])
"""


@final
class SizeTarget(Target):
    """A nanosecond or more for each byte of a file."""

    def __init__(self, factor: float = 1.0, identity: str = "by size", interrupted: float = math.inf) -> None:
        self._factor, self._identity, self._left = factor, identity, interrupted

    @property
    def identity(self) -> str:
        return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        times_s = self._factor * 1e-9 * np.array([[len(model) for model in models]])
        return Timing((times_s,) * 4, (), 0.0, self.identity)


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    space = load_space(SPACE)
    assert isinstance(space, SearchSpace)
    return space


@pytest.fixture
def networks(space: SearchSpace) -> list[Architecture]:
    """All networks of the space."""
    rng = Random(0)
    found = {architecture.id: architecture for architecture in (space.sample(rng) for _ in range(300))}
    assert len(found) == NETWORKS
    return list(found.values())


def times_ms(target: Target, space: SearchSpace, architecture: Architecture) -> dict[int, float]:
    exits = measure_exits(target, space.graph(architecture))
    return {exit: latency.p50_ms for exit, latency in enumerate(exits)}


@pytest.fixture
def record(space: SearchSpace, networks: list[Architecture], tmp_path: Path) -> Record:
    """Record all networks on a target by size: the file."""

    def record(factor: float = 1.0, identity: str = "by size") -> Path:
        path = tmp_path / f"{identity} {factor}.json"
        for architecture in networks:
            measure_exits(Recorder(SizeTarget(factor, identity), path), space.graph(architecture))
        return path

    return record


@pytest.fixture
def calibration(nas: Nas, record: Record, tmp_path: Path) -> Path:
    path = tmp_path / "calibration.json"
    nas("calibrate", SPACE, "--target", f"recorded:{record()}", "--out", path)
    return path


def test_the_file_holds_the_networks_of_the_space(
    calibration: Path, space: SearchSpace, networks: list[Architecture]
) -> None:
    found = Calibration.load(calibration)
    found.check(space, "by size")
    assert {network.architecture for network in found.measured} == set(networks)
    for network in found.measured:
        expected = times_ms(SizeTarget(), space, network.architecture)
        assert max(network.exits_ms) == max(expected)
        assert network.exits_ms == pytest.approx({exit: expected[exit] for exit in network.exits_ms})


def test_what_is_shown_is_what_was_learned(nas: Nas, record: Record, tmp_path: Path) -> None:
    command = ("calibrate", SPACE, "--data", "digits", "--target", f"recorded:{record()}", "--out")
    values = json.loads(nas(*command, tmp_path / "c.json", "--json"))
    assert values.pop("networks") == NETWORKS
    assert LayerPredictor.from_json(values) == Calibration.load(tmp_path / "c.json").predictor
    header, line = nas(*command, tmp_path / "c.json").splitlines()
    assert header.split()[:2] == ["target", "networks"]
    assert line.startswith("by size")
    assert str(NETWORKS) in line.split()


def test_a_file_that_is_there_gets_more(
    nas: Nas, record: Record, space: SearchSpace, networks: list[Architecture], tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    known = [Measured(each, times_ms(SizeTarget(1.01), space, each)) for each in networks[:4]]
    Calibration.of(space, "by size", known).save(path)
    nas("calibrate", SPACE, "--target", f"recorded:{record()}", "--out", path)
    found = Calibration.load(path).measured
    assert list(found[:4]) == known
    assert {network.architecture for network in found} == set(networks)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (1.0, "by size runs 0.0% faster than when it was calibrated"),
        (1.04, "by size runs 4.0% slower than when it was calibrated"),
        (1.1, "by size runs 10.0% slower than when it was calibrated; calibrate again"),
        (0.5, "by size runs 50.0% faster than when it was calibrated; calibrate again"),
    ],
)
def test_a_check_tells_how_times_have_changed(
    calibration: Path, record: Record, capsys: pytest.CaptureFixture[str], factor: float, told: str
) -> None:
    before = calibration.read_bytes()
    target = f"recorded:{record(factor)}"
    command = ["calibrate", SPACE, "--target", target, "--out", str(calibration), "--check", "--json"]
    if "again" in told:
        with pytest.raises(SystemExit) as left:
            main(command)
        assert left.value.code == 1
    else:
        assert main(command) == 0
    out, err = capsys.readouterr()
    assert err == f"nas: {told}\n"
    assert json.loads(out)["networks"] == NETWORKS
    assert json.loads(out)["drift_ratio"] == pytest.approx(factor)
    assert calibration.read_bytes() == before


def test_what_is_known_of_another_target_helps(
    nas: Nas, calibration: Path, record: Record, tmp_path: Path
) -> None:
    there, path = f"recorded:{record(3.0, 'elsewhere')}", tmp_path / "there.json"
    nas("calibrate", SPACE, "--target", there, "--known", calibration, "--out", path)
    found, known = Calibration.load(path), Calibration.load(calibration)
    assert found.target == "elsewhere"
    for network, other in zip(
        *(sorted(each.measured, key=lambda network: network.architecture.id) for each in (found, known)),
        strict=True,
    ):
        assert network.last_ms == pytest.approx(3 * other.last_ms)
    same = ("calibrate", SPACE, "--target", f"recorded:{record()}", "--known", calibration)
    assert "must be of another target" in nas(*same, "--out", tmp_path / "same.json", code=2)
    assert not (tmp_path / "same.json").exists()


def test_files_of_something_else_are_left(nas: Nas, calibration: Path, record: Record) -> None:
    before = calibration.read_bytes()
    here, there = (f"recorded:{record(identity=name)}" for name in ("by size", "elsewhere"))
    for command in (
        (SPACE, "--target", there),
        ("user_spaces:other", "--target", here),
        (SPACE, "--target", here, "--input", "3,8,8"),
        (SPACE, "--target", here, "--classes", 3, "--check"),
    ):
        assert "; calibrate again" in nas("calibrate", *command, "--out", calibration, code=2)
    assert calibration.read_bytes() == before
    calibration.write_bytes(before[:-9])
    assert "must be a calibration" in nas("calibrate", SPACE, "--target", here, "--out", calibration, code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (f"{SPACE} --target phone", "tcp://HOST:PORT"),
        (f"{SPACE} --target local,threads=0", "threads must be at least 1"),
        (f"{SPACE} --target recorded:none.json", "none.json"),
        (f"{SPACE} --target tcp://127.0.0.1:1", "must answer, but did not"),
        (f"{SPACE} --check", "must be a calibration"),
        (f"{SPACE} --data digits --classes 3", "--classes"),
        ("search_spaces.mobile:mobilenet_v2", "one network"),
        ("user_spaces:without_exit", "exit"),
    ],
)
def test_misuse_is_one_sentence(nas: Nas, tmp_path: Path, arguments: str, told: str) -> None:
    assert told in nas("calibrate", *arguments.split(), "--out", tmp_path / "c.json", code=2)
    assert not list(tmp_path.iterdir())


def test_a_target_that_knows_none_of_the_networks(nas: Nas, record: Record, tmp_path: Path) -> None:
    command = ("calibrate", "search_spaces.tiny:space", "--target", f"recorded:{record()}", "--out")
    assert "must have been recorded" in nas(*command, tmp_path / "c.json", code=2)
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("arguments", ["--out c.json --seconds 0", "--out c.json --seed -1", ""])
def test_bad_options_are_code_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", SPACE, *arguments.split()])
    assert left.value.code == 2
    assert "usage: nas calibrate" in capsys.readouterr().err


def test_a_target_that_fails_leaves_what_there_is(
    nas: Nas, record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = record(1.0)
    values = json.loads(recording.read_text())
    values["entries"] = dict(list(values["entries"].items())[:8])  # of two exits each
    recording.write_text(json.dumps(values))
    out = tmp_path / "c.json"
    assert main(["calibrate", SPACE, "--target", f"recorded:{recording}", "--out", str(out)]) == 0
    assert "learning from 4 networks" in capsys.readouterr().err
    assert len(Calibration.load(out).measured) == 4


def test_a_folder_that_is_not_there_is_told_first(nas: Nas, tmp_path: Path) -> None:
    assert "must be there" in nas("calibrate", SPACE, "--out", tmp_path / "none" / "c.json", code=2)


def test_a_search_is_told_an_interval(space: SearchSpace, networks: list[Architecture]) -> None:
    known = [Measured(each, times_ms(SizeTarget(), space, each)) for each in networks[:4]] * 3
    calibration = Calibration.of(space, "by size", known)
    predictor = calibration.predictor
    for number, architecture in enumerate(networks):
        candidate = Candidate(space, architecture)
        for exit in range(2):
            interval = calibration(candidate, exit)
            if number < 4:
                assert interval.value == known[number].exits_ms[exit]
                assert interval.high / interval.value == pytest.approx(interval.value / interval.low)
                assert interval.low < interval.value
            elif math.isinf(interval.value):
                assert interval.low == 0
            else:
                ratio = predictor.ratio(candidate.graph, exit)
                assert interval.value == predictor(candidate.graph, exit)
                assert interval.high == pytest.approx(ratio * interval.value)
                assert interval.low == pytest.approx(interval.value / ratio)
        assert calibration(candidate) == calibration(candidate, 1)


def test_a_search_goes_by_a_calibration(
    nas: Nas, calibration: Path, record: Record, space: SearchSpace, tmp_path: Path
) -> None:
    target, folder = f"recorded:{record()}", tmp_path / "run"
    command = ("search", SPACE, "--out", folder)
    limit = ("--budget", "latency<=15us, latency@0<=1s")
    nas(*command, *NEW, *limit, "--target", target, "--calibration", calibration, "--trials", 2)
    assert (folder / "latency.json").read_bytes() == calibration.read_bytes()
    assert json.loads((folder / "job.json").read_text())["target"] == target
    nas(*command, "--trials", 3)
    nas(*command, "--target", target, "--trials", 3)
    trials = read_study(folder).trials
    judged = [trial for trial in trials if "latency_ms" in trial.values]
    assert sum(trial.state == "complete" for trial in judged) == 3
    for trial in judged:
        first, last = times_ms(SizeTarget(), space, trial.architecture).values()
        assert trial.values["latency_ms"] == pytest.approx(last)
        assert (trial.state == "infeasible") == (last > 0.015)
        if trial.state == "complete":
            assert trial.values["latency_ms@0"] == pytest.approx(first)
    assert "its target is" in nas(*command, "--target", "local", "--trials", 4, code=2)


def test_a_limit_on_energy_is_kept_as_declared(
    nas: Nas, calibration: Path, record: Record, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = ("search", SPACE, "--out", folder)
    limit = ("--budget", "energy<=0.04mJ")
    new = (*NEW, "--target", f"recorded:{record()}", "--calibration", calibration, "--trials", 2)
    assert "formula to estimate energy by" in nas(*command, *limit, *new, code=2)
    assert "0.2mJ + 2.5W" in nas(*command, *limit, *new, "--energy", "2", code=2)
    nas(*command, *limit, *new, "--energy", "0.01mJ+2W")
    nas(*command, *limit, "--trials", 3)  # the formula is kept
    assert str(read_study(folder).settings.budget) == "latency<=15us"
    assert json.loads((folder / "job.json").read_text())["energy"] == "0.01mJ + 2W"
    assert "its energy is" in nas(*command, "--energy", "3W", "--trials", 4, code=2)


def test_a_search_refuses_a_calibration_of_something_else(
    nas: Nas, calibration: Path, record: Record, tmp_path: Path
) -> None:
    command = ("search", SPACE, *NEW, "--budget", "latency<=1s", "--trials", 1, "--out", tmp_path / "run")
    there = f"recorded:{record(identity='elsewhere')}"
    for options in (("--target", there), ("--data", "digits")):
        assert "; calibrate again" in nas(*command, *options, "--calibration", calibration, code=2)
    assert "none.json" in nas(*command, "--calibration", tmp_path / "none.json", code=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_whole_job_on_another_machine(start: Start, nas: Nas, tmp_path: Path) -> None:
    agent, folder = start("-c", AGENT), tmp_path / "run"
    try:
        assert agent.stderr is not None
        address = agent.stderr.readline().split()[-1]
        target = f"tcp://{address}"
        nas("search", SPACE, *NEW, "--budget", "latency<=1s", "--target", target, "--out", folder,
            "--calibrate", 9, "--trials", 3)  # fmt: skip
        nas("train", folder, "--epochs", 1, "--top", 1)
        nas("export", folder, "--target", target)
        nas("verify", folder / "bundle", "--target", target, "--seconds", 1)
    finally:
        agent.terminate()
        agent.communicate()
    there = LocalTarget().identity.replace(LocalTarget().identity.partition(", ")[0], "another chip")
    assert json.loads((folder / "job.json").read_text())["target"] == target
    calibration = Calibration.load(folder / "latency.json")
    assert calibration.target == there != LocalTarget().identity
    known = {network.architecture.id: network.last_ms for network in calibration.measured}
    complete = [trial for trial in read_study(folder).trials if trial.state == "complete"]
    assert len(complete) == 3
    for trial in complete:
        assert trial.values["latency_ms"] == known[trial.architecture.id]
    levels = Bundle.load(folder / "bundle").levels
    assert {level.latency.target for level in levels if level.latency} == {there}
    assert all(level.latency and level.keeps_budget is not False for level in levels)
