"""Holds the way from a search to a page: what each command leaves behind for the next, and what it shows."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nas.bundle import Bundle
from nas.data import load_data
from nas.model import Model
from nas.runtime import BatteryBands, Governor, RecordedTrace, Runtime
from nas.search import read_study
from nas.train import predict

Nas = Callable[..., str]
NEW = ("--data", "digits", "--epochs", 1, "--sampler", "random")


def test_the_front_is_that_of_the_study(nas: Nas, run_folder: Path) -> None:
    record = read_study(run_folder)
    assert record.evaluated == 3
    assert json.loads(nas("front", run_folder, "--json")) == record.front.to_json()
    lines = nas("front", run_folder).splitlines()
    assert [line.split()[0] for line in lines] == ["trial", *(str(trial.number) for trial in record.front)]
    assert [objective.metric for objective in record.settings.objectives] == ["accuracy", "macs"]


def test_a_search_continues_without_being_told_again(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    shutil.copytree(run_folder, folder)
    before = read_study(folder).trials
    front = json.loads(nas("search", "user_spaces:space", "--out", folder, "--trials", 4, "--json"))
    after = read_study(folder)
    assert after.trials[: len(before)] == before
    assert after.evaluated == 4
    assert front == after.front.to_json()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("user_spaces:other",), "user_spaces:space"),
        (("user_spaces:space", "--data", "fashion-mnist"), "digits"),
        (("user_spaces:space", "--budget", "macs<=200K"), "macs<=100K"),
        (("user_spaces:space", "--seed", 1), "seed"),
        (("user_spaces:space", "--objective", "maximize:accuracy"), "'macs'"),
        (("user_spaces:space", "--epochs", 2), "epochs"),
        (("user_spaces:space", "--sampler", "tpe"), "sampler"),
    ],
)
def test_a_folder_of_another_search_is_misuse(
    nas: Nas, run_folder: Path, change: tuple[object, ...], told: str
) -> None:
    before = read_study(run_folder)
    assert told in nas("search", *change, "--out", run_folder, "--trials", 9, code=2)
    assert read_study(run_folder) == before


def test_data_that_changed_is_misuse(nas: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    file, folder = tmp_path / "data.npz", tmp_path / "d"

    def store() -> None:
        parts = {f"x_{part}": rng.integers(0, 256, (40, 8, 8, 1), np.uint8) for part in ("train", "test")}
        np.savez(file, **parts, y_train=np.arange(40) % 2, y_test=np.arange(40) % 2)

    store()
    command = ("search", "user_spaces:space", "--out", folder, "--data", f"npz:{file}", "--epochs", 1)
    nas(*command, "--trials", 1)
    monkeypatch.chdir(tmp_path)
    nas("search", "user_spaces:space", "--out", folder, "--data", "npz:data.npz", "--trials", 1)
    store()
    assert "hash" in nas(*command, "--trials", 2, code=2)


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"threads": 0},
        {"threads": None},
        {"epochs": "x"},
        {"epochs": True},
        {"images": 1},
        {"data": 3},
        {"x": 1},
    ],
)
def test_a_damaged_job_is_misuse(nas: Nas, copy: Path, values: dict[str, object]) -> None:
    _change(copy / "job.json", **values)
    for command in (("search", "user_spaces:space", "--out"), ("train",), ("export",), ("report",)):
        assert min(values) in nas(*command, copy, code=2)
    (copy / "job.json").write_text("[]")
    assert "job.json" in nas("train", copy, code=2)


def test_a_damaged_latency_table_is_misuse(nas: Nas, copy: Path) -> None:
    (copy / "latency.json").write_text("{}")
    assert "latency.json" in nas("search", "user_spaces:space", "--out", copy, "--trials", 4, code=2)


def test_the_bundle_is_what_was_trained(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    data = load_data("digits")
    runtime = Runtime.load(run_folder / "bundle")
    for number, level in enumerate(runtime.levels):
        weights = f"models/{level.model}/model.safetensors"
        model = Model.load(run_folder / weights)
        expected = predict(model, data.x_test)[level.exit]
        np.testing.assert_allclose(runtime.run(data.x_test, number).logits, expected, atol=1e-3)
        assert_array_equal(
            predict(Model.load(run_folder / "bundle" / weights), data.x_test[:9])[0],
            predict(model, data.x_test[:9])[0],
        )


def test_export_shows_the_levels(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    lines = nas("export", run_folder, "--out", tmp_path / "bundle").splitlines()
    levels = Bundle.load(tmp_path / "bundle").levels
    assert [line.split()[:3] for line in lines[1:]] == [
        [str(number), level.model, str(level.exit)] for number, level in enumerate(levels)
    ]
    assert "bundle" in nas("export", run_folder, "--out", tmp_path, code=2)  # which holds other things


def test_run_follows_the_governor(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = [f"{60 * step},{100 - step}" for step in range(101)]
    trace.write_text("\n".join(["time_s,battery_percent", *rows]))
    switches = json.loads(nas("run", run_folder / "bundle", "--battery", trace, "--json"))["switches"]
    levels = Bundle.load(run_folder / "bundle").levels
    governor = Governor(levels, BatteryBands())
    expected = []
    for number, signals in enumerate(RecordedTrace.load(trace)):
        governor = governor.step(signals)
        if governor.switched or not number:
            expected.append((signals.time_s, governor.level, governor.reason))
    assert [(switch["time_s"], switch["to"], switch["reason"]) for switch in switches] == expected
    assert sum(switch["steps"] for switch in switches) == 101
    assert all(switch["measured_ms"] > 0 for switch in switches)
    table = nas("run", run_folder / "bundle", "--battery", trace)
    assert all(switch["reason"] in table for switch in switches)


def test_run_keeps_to_one_model(nas: Nas, run_folder: Path) -> None:
    command = ("run", run_folder / "bundle", "--synthetic", "--json", "--model")
    levels = Bundle.load(run_folder / "bundle").levels
    for model in {level.model for level in levels}:
        expected = [number for number, level in enumerate(levels) if level.model == model]
        switches = json.loads(nas(*command, model))["switches"]
        assert [switch["to"] for switch in switches] == expected[::-1]
    last = {level.model: level for level in levels}
    several = Counter(level.model for level in levels)
    best = max(last.values(), key=lambda level: (level.accuracy, several[level.model])).model
    assert len({*last, best}) == 2
    keys = ("to", "reason")
    expected, found = (json.loads(nas(*command, name))["switches"] for name in (best, "best"))
    assert [[switch[key] for key in keys] for switch in found] == [
        [switch[key] for key in keys] for switch in expected
    ]
    assert best in nas(*command, "no-such-model", code=2)


def test_a_latency_budget_holds_when_measured(nas: Nas, tmp_path: Path) -> None:
    command = ("search", "search_spaces.tiny:space", *NEW, "--trials", 2, "--out", tmp_path / "d")
    nas(*command, "--budget", "latency<=0.15ms", "--calibrate", 3)
    record = read_study(tmp_path / "d")
    assert all(trial.values["latency_ms"] <= 0.15 for trial in record.trials if trial.evaluated)
    assert [objective.metric for objective in record.settings.objectives] == ["accuracy", "latency_ms"]
    assert all("latency" in trial.reason for trial in record.trials if trial.state == "infeasible")


def test_run_drains_a_made_up_battery_on_real_images(nas: Nas, run_folder: Path) -> None:
    command = ("run", run_folder / "bundle", "--synthetic", "--json")
    switches = json.loads(nas(*command, "--data", "digits"))["switches"]
    charges = [switch["battery_ratio"] for switch in switches]
    assert charges[0] == 1
    assert charges == sorted(charges, reverse=True)
    assert 99 <= sum(switch["steps"] for switch in switches) <= 102
    assert "(1, 8, 8)" in nas(*command, "--data", f"npz:{_other_images(run_folder.parent)}", code=2)


def test_report_writes_a_page(nas: Nas, run_folder: Path, tmp_path: Path) -> None:
    assert (
        nas("report", run_folder, "--out", tmp_path / "report") == f"{tmp_path / 'report' / 'index.html'}\n"
    )
    assert {file.name for file in (tmp_path / "report").iterdir()} == {
        "index.html",
        "front_macs.png",
        "front_ms.png",
        "exits.png",
        "progress.png",
    }


def test_a_search_without_budget_minimizes_macs(nas: Nas, tmp_path: Path) -> None:
    nas("search", "user_spaces:space", *NEW, "--trials", 2, "--out", tmp_path / "d")
    assert not (tmp_path / "d" / "latency.json").exists()
    settings = read_study(tmp_path / "d").settings
    assert [objective.to_json() for objective in settings.objectives] == [
        {"maximize": "accuracy"},
        {"minimize": "macs"},
    ]
    assert "none" in nas("export", tmp_path / "d", code=2)
    nas("report", tmp_path / "d")


def test_a_search_whose_trainings_all_fail_says_why(nas: Nas, tmp_path: Path) -> None:
    command = ("search", "user_spaces:exploding", *NEW, "--trials", 1, "--out", tmp_path / "d")
    for _ in range(2):
        assert "all 1 trainings failed, the last because the loss" in nas(*command, code=1)
    assert read_study(tmp_path / "d").evaluated == 1


def _other_images(folder: Path) -> Path:
    images, labels = np.zeros((20, 5, 5, 1), np.uint8), np.arange(20) % 2
    np.savez(folder / "other.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    return folder / "other.npz"
