"""nas search --anytime: one network for budgets not known beforehand, continued as it was begun."""

import json
from pathlib import Path

import pytest

from nas.cli import main
from nas.search import read_study


def test_a_search_for_one_network_with_good_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    search = ["search", "search_spaces.tiny:space", "--out", run, "--epochs", "1", "--images", "128"]
    begun = [*search, "--data", "digits", "--budget", "macs<=300K", "--anytime", "macs 10K..200K"]
    assert main([*begun, "--trials", "2"]) == 0
    assert json.loads((tmp_path / "run" / "job.json").read_text())["anytime"] == "macs 10K..200K"
    assert main([*search, "--trials", "3"]) == 0
    study = read_study(run)
    values = [trial.values["anytime_accuracy"] for trial in study.trials if trial.evaluated]
    assert len(values) == 3
    assert [trial.values["anytime_accuracy"] for trial in study.front.trials] == [max(values)]
    assert "anytime accuracy" in capsys.readouterr().out
    assert main([*search, "--anytime", "macs 10K..100K"]) == 2
    assert "its anytime is 'macs 10K..200K' and not 'macs 10K..100K'" in capsys.readouterr().err


def test_a_range_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = ["search", "search_spaces.tiny:space", "--out", str(tmp_path / "run"), "--data", "digits"]
    assert main([*search, "--anytime", "macs 5M"]) == 2
    assert "a range of costs must read like 'macs 0.5M..5M'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--objective", "maximize:anytime_accuracy"], "must be an objective with --anytime, and only then"),
        (["--anytime", "macs 1K..9K", "--objective", "maximize:accuracy"], "one stands without the other"),
        (["--anytime", "energy 1mJ..3mJ", "--energy", "2W"], "must be of latency or of what is counted"),
    ],
)
def test_what_does_not_go_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    search = ["search", "search_spaces.tiny:space", "--out", str(tmp_path / "run"), "--data", "digits"]
    assert main([*search, *given]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
