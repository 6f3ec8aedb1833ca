"""Verifying a bundle needs what a device has, and its exit code says whether every latency budget is kept."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.bundle import Bundle
from nas.cli import main
from nas.latency.local import LocalTarget

Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]

QUICK = ("--seconds", "1")


@pytest.fixture
def bundle(run_folder: Path, tmp_path: Path) -> Path:
    """The bundle of the run, to be changed."""
    return shutil.copytree(run_folder / "bundle", tmp_path / "bundle")


def change(bundle: Path, edit: Callable[[Any], object]) -> None:
    record = json.loads((bundle / "bundle.json").read_text())
    edit(record)
    (bundle / "bundle.json").write_text(json.dumps(record))


def scale(bundle: Path, factor: float) -> None:
    def edit(record: Any) -> None:
        for level in record["levels"]:
            level["latency_ms"]["p50"] *= factor

    change(bundle, edit)


def test_a_kept_budget_is_code_0_with_what_a_device_has(
    device_program: str, start: Start, run_folder: Path
) -> None:
    process = start("-c", device_program, "verify", run_folder / "bundle", *QUICK)
    out, err = process.communicate()
    assert process.returncode == 0, err
    header, *lines = out.splitlines()
    assert header.split()[:3] == ["level", "model", "exit"]
    levels = Bundle.load(run_folder / "bundle").levels
    assert [line.split()[:3] for line in lines] == [
        [str(number), level.model, str(level.exit)] for number, level in enumerate(levels)
    ]
    for line, level in zip(lines, levels, strict=True):
        assert line.split()[-2:] == (["latency<=1s", "yes"] if level.exit == 1 else ["-", "-"])


def test_a_broken_budget_is_code_1_and_one_sentence(device_program: str, start: Start, bundle: Path) -> None:
    change(bundle, lambda record: record["certificate"].update(budget="latency@0<=0.1us"))
    process = start("-c", device_program, "verify", bundle, *QUICK)
    out, err = process.communicate()
    assert process.returncode == 1
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [
        "-" if level.exit else "no" for level in Bundle.load(bundle).levels
    ]
    assert err.splitlines()[-1].startswith("nas: levels must keep their budget, but level 0 (")
    assert "us and not latency@0<=0.1us" in err


def test_json_says_what_was_certified_and_what_was_measured(nas: Nas, run_folder: Path) -> None:
    found = json.loads(nas("verify", run_folder / "bundle", "--json", *QUICK))
    levels = Bundle.load(run_folder / "bundle").levels
    assert found["target"] == LocalTarget().identity
    assert [level["certified_ms"] for level in found["levels"]] == [
        level.to_json()["latency_ms"] for level in levels
    ]
    for level in found["levels"]:
        assert level["ratio"] == pytest.approx(level["measured_ms"]["p50"] / level["certified_ms"]["p50"])
        assert level["kept"] is (True if level["exit"] == 1 else None)


@pytest.mark.parametrize(("factor", "word"), [(0.01, "slower"), (100, "faster")])
def test_a_machine_that_changed_is_told(
    bundle: Path, capsys: pytest.CaptureFixture[str], factor: float, word: str
) -> None:
    scale(bundle, factor)
    assert main(["verify", str(bundle), *QUICK]) == 0
    assert f"nas: the machine is {word} than when it was certified" in capsys.readouterr().err


def test_another_target_is_told_and_only_the_budget_decides(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale(bundle, 0.01)
    command = ["verify", str(bundle), *QUICK, "--target", "local,threads=2"]
    assert main(command) == 0
    here, there = (LocalTarget(threads).identity for threads in (1, 2))
    expected = f"nas: certified on {here}, but measured on {there}: only the budget decides\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda record: record.update(certificate=None), "must have a certificate"),
        (lambda record: record["certificate"].update(budget="soon"), "'soon'"),
        (lambda record: record["certificate"].pop("measured"), "'measured'"),
        (lambda record: record["levels"][0].pop("keeps_budget"), "'keeps_budget'"),
    ],
)
def test_a_damaged_certificate_is_code_2(
    nas: Nas, bundle: Path, edit: Callable[[Any], object], told: str
) -> None:
    change(bundle, edit)
    assert told in nas("verify", bundle, code=2)


def test_damaged_files_and_unknown_targets_are_code_2(nas: Nas, bundle: Path) -> None:
    assert "tcp://HOST:PORT" in nas("verify", bundle, "--target", "phone", code=2)
    file = next(bundle.glob("models/*/head_0.onnx"))
    file.write_bytes(file.read_bytes()[:-1])
    assert "head_0.onnx must have the sha256" in nas("verify", bundle, code=2)
    assert "bundle.json" in nas("verify", bundle.parent, code=2)
