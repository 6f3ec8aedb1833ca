"""Calibrations made by command: what the file holds, and what it is held against."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli import main
from nas.latency import Calibration, Measured, Target, measure_exits
from nas.latency.predictor import LayerPredictor
from nas.space import Architecture, SearchSpace

Nas = Callable[..., str]
Record = Callable[..., Path]
ByBytes = Callable[..., Target]
SPACE = "user_spaces:space"
NETWORKS = 8  # of that space


def times_ms(target: Target, space: SearchSpace, architecture: Architecture) -> dict[int, float]:
    exits = measure_exits(target, space.graph(architecture))
    return {exit: latency.p50_ms for exit, latency in enumerate(exits)}


def test_the_file_holds_the_networks_of_the_space(
    size_target: ByBytes, calibration: Path, space: SearchSpace, networks: list[Architecture]
) -> None:
    found = Calibration.load(calibration)
    found.check(space, "by size")
    assert {network.architecture for network in found.measured} == set(networks)
    for network in found.measured:
        expected = times_ms(size_target(), space, network.architecture)
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
    size_target: ByBytes,
    nas: Nas,
    record: Record,
    space: SearchSpace,
    networks: list[Architecture],
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.json"
    known = [Measured(each, times_ms(size_target(1.01), space, each)) for each in networks[:4]]
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
