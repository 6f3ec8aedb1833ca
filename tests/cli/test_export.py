"""Exporting measures on the target that is named, and tells which levels may break the budget."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.bundle import Bundle
from nas.cli import main
from nas.latency.local import LocalTarget

Nas = Callable[..., str]


def test_levels_are_certified_under_the_budget_of_the_search(nas: Nas, run_folder: Path) -> None:
    bundle = Bundle.load(run_folder / "bundle")
    assert bundle.certificate
    assert bundle.certificate.budget == "macs<=100K, latency<=1s"
    for level in bundle.levels:
        assert level.latency
        assert level.latency.target == LocalTarget().identity
        assert level.keeps_budget is (True if level.exit == 1 else None)


def test_a_level_over_the_budget_is_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = copy / "study.json"
    study.write_text(json.dumps(json.loads(study.read_text()) | {"budget": "latency@0<=0.1us"}))
    assert main(["export", str(copy), "--json"]) == 0
    out, err = capsys.readouterr()
    levels = Bundle.load(copy / "bundle").levels
    assert [level["keeps_budget"] for level in json.loads(out)["levels"]] == [
        None if level.exit else False for level in levels
    ]
    expected = [
        f"nas: level {number} ({level.model}, exit 0): latency@0<=0.1us must hold, but its upper bound is "
        for number, level in enumerate(levels)
        if level.exit == 0
    ]
    assert expected
    assert [line[: len(start)] for line, start in zip(err.splitlines(), expected, strict=True)] == expected


def test_the_target_is_named(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    nas("export", run_folder, "--out", out, "--target", "local,threads=2")
    levels = Bundle.load(out).levels
    assert {level.latency.target for level in levels if level.latency} == {LocalTarget(2).identity}
    assert "tcp://HOST:PORT" in nas("export", run_folder, "--out", out, "--target", "phone", code=2)
