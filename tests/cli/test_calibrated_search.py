"""Searches that go by a calibration, which a command has made."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.bundle import Bundle
from nas.latency import Calibration, LocalTarget, Measured, Target, measure_exits
from nas.search import read_study
from nas.space import Architecture, Candidate, SearchSpace

Nas = Callable[..., str]
Record = Callable[..., Path]
Start = Callable[..., subprocess.Popen[str]]
ByBytes = Callable[..., Target]
SPACE = "user_spaces:space"
NEW = ("--data", "digits", "--epochs", 1, "--sampler", "random")

AGENT = """
import nas.latency.local
nas.latency.local.chip_name = lambda: "another chip"
from nas.cli import main
main(["agent", "--port", "0"])
"""


def times_ms(target: Target, space: SearchSpace, architecture: Architecture) -> dict[int, float]:
    exits = measure_exits(target, space.graph(architecture))
    return {exit: latency.p50_ms for exit, latency in enumerate(exits)}


def test_a_search_is_told_an_interval(
    size_target: ByBytes, space: SearchSpace, networks: list[Architecture]
) -> None:
    known = [Measured(each, times_ms(size_target(), space, each)) for each in networks[:4]] * 3
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
            elif math.isinf(interval.high):
                assert interval.low == 0
                assert interval.value == predictor.guess(candidate.graph, exit)
            else:
                ratio = predictor.ratio(candidate.graph, exit)
                assert interval.value == predictor(candidate.graph, exit)
                assert interval.high == pytest.approx(ratio * interval.value)
                assert interval.low == pytest.approx(interval.value / ratio)
        assert calibration(candidate) == calibration(candidate, 1)


def test_a_search_goes_by_a_calibration(
    size_target: ByBytes, nas: Nas, calibration: Path, record: Record, space: SearchSpace, tmp_path: Path
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
        first, last = times_ms(size_target(), space, trial.architecture).values()
        assert trial.values["latency_ms"] == pytest.approx(last)
        assert (trial.state == "infeasible") == (last > 0.015)
        if trial.state == "complete":
            assert trial.values["latency_ms@0"] == pytest.approx(first)
    assert "its target is" in nas(*command, "--target", "local", "--trials", 4, code=2)


def test_exits_are_compared_by_one_calibration(
    nas: Nas, calibration: Path, record: Record, tmp_path: Path
) -> None:
    """A search with --anytime in milliseconds goes on with no other."""
    command, other = ("search", SPACE, "--out", tmp_path / "run"), tmp_path / "other.json"
    sought = ("--anytime", "latency 1us..1s", "--target", f"recorded:{record()}")
    nas(*command, *NEW, *sought, "--calibration", calibration, "--trials", 1)
    other.write_text(calibration.read_text() + " ")
    refused = nas(*command, "--calibration", other, "--trials", 2, code=2)
    assert "must keep the calibration that they are compared by" in refused
    nas(*command, "--calibration", calibration, "--trials", 2)


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
