"""A day replayed tells what the simulation says, writes it as a file and a plot, and says what is wrong."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from nas.bundle import Bundle, undominated
from nas.cli import main
from nas.report.day import draw_day, follow_day
from nas.runtime import BatteryBands, Charger, EnergyUntil, Governor
from nas.simulation import Device, Moment, Trace, best_replay, replay_governor, replay_level

Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]

SECONDS, REQUESTS = 120, 10


@pytest.fixture
def bundle(run_folder: Path, tmp_path: Path) -> Path:
    """The bundle of the run, but with levels that are worth their time."""
    bundle = shutil.copytree(run_folder / "bundle", tmp_path / "bundle")
    record = json.loads((bundle / "bundle.json").read_text())
    for number, level in enumerate(record["levels"]):
        level["accuracy"] = 0.6 + 0.08 * number
        level["latency_ms"].update(p50=2.0**number, p95=1.2 * 2**number)
    _saved(bundle / "bundle.json", record)
    return bundle


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two minutes with a charger for the second third."""
    third = SECONDS // 3
    moments = [
        Moment(
            time_s=second,
            requests=REQUESTS,
            until_s=SECONDS,
            charger_w=0.01 if third <= second < 2 * third else 0,
        )
        for second in range(SECONDS)
    ]
    Trace(tuple(moments)).save(tmp_path / "day.csv")
    return tmp_path / "day.csv"


@pytest.fixture
def device(bundle: Path, tmp_path: Path) -> Path:
    """A battery for a good half of the day at the level that takes most, and a chip that gets warm."""
    most_ms = 2 ** (len(Bundle.load(bundle).levels) - 1)
    record = {
        "capacity_mj": 0.6 * SECONDS * REQUESTS * 2.0 * most_ms,
        "heating_c_per_j": 20 / most_ms,
        "charge_units": 500,
        "heat_units": 100,
    }
    return _saved(tmp_path / "device.json", record)


def _saved(path: Path, record: object) -> Path:
    path.write_text(json.dumps(record))
    return path


def test_it_tells_what_the_simulation_says(nas: Nas, bundle: Path, trace: Path, device: Path) -> None:
    found = json.loads(nas("simulate", bundle, "--trace", trace, "--device", device, "--json"))
    made, day, levels = (
        Device(**json.loads(device.read_text())),
        Trace.load(trace),
        Bundle.load(bundle).levels,
    )
    assert found["device"] == asdict(made)
    dial = undominated(levels)
    replays = [replay_governor(made, day, Governor(levels, BatteryBands()))]
    replays += [replay_level(made, day, levels, number) for number in range(len(levels))]
    replays += [best_replay(made, day, [levels[number] for number in dial])]
    for told, replay in zip(found["replays"], replays, strict=True):
        assert told["accuracy"] == replay.accuracy
        assert told["unanswered_ratio"] == replay.unanswered_ratio
        assert told["missed_ratio"] == replay.missed_ratio
        assert told["switches"] == replay.switches
    *others, best = found["replays"]
    fixed = max(told["accuracy"] for told in others[1:])
    assert best["accuracy"] >= max(told["accuracy"] for told in others)
    for told in found["replays"]:
        missing = (best["accuracy"] - told["accuracy"]) / (best["accuracy"] - fixed)
        assert told["regret_ratio"] == pytest.approx(missing)
    steps = zip(found["steps"], replays[0].steps, replays[-1].steps, strict=True)
    for told, step, best_step in steps:
        assert told == {
            "time_s": step.moment.time_s,
            "level": step.level,
            "best_level": dial[best_step.level],
            "battery_ratio": made.battery_ratio(step.state),
            "temperature_c": made.temperature_c(step.state),
            "reason": step.reason,
        }


def test_the_table_has_a_row_for_each_way(nas: Nas, bundle: Path, trace: Path, device: Path) -> None:
    command = ("simulate", bundle, "--trace", trace, "--device", device)
    header, *lines = nas(*command).splitlines()
    told = json.loads(nas(*command, "--json"))["replays"]
    assert header.split()[:4] == ["name", "accuracy", "unanswered", "%"]
    levels = Bundle.load(bundle).levels
    names = [f"level {number}: {level.model} exit {level.exit}" for number, level in enumerate(levels)]
    for line, name, row in zip(lines, ["governor", *names, "best in hindsight"], told, strict=True):
        assert line.startswith(name)
        cells = line.removeprefix(name).split()
        assert cells[0] == f"{row['accuracy']:.4f}"
        assert cells[-1] == f"{100 * row['battery_ratio']:.1f}"
    assert lines[-1].split()[-2] == "0.0"


def test_without_a_device_nothing_ends_and_there_is_nothing_to_gain(
    nas: Nas, bundle: Path, trace: Path
) -> None:
    told = json.loads(nas("simulate", bundle, "--trace", trace, "--json"))["replays"]
    best = max(level.accuracy for level in Bundle.load(bundle).levels)
    assert (told[0]["accuracy"], told[-1]["accuracy"]) == (pytest.approx(best), pytest.approx(best))
    for row in told:
        assert (row["regret_ratio"], row["battery_ratio"], row["unanswered_ratio"]) == (None, None, 0)


def test_a_governor_of_the_bundle_and_one_that_is_given(
    nas: Nas, bundle: Path, trace: Path, tmp_path: Path
) -> None:
    levels = Bundle.load(bundle).levels
    lowest = Governor(levels, Charger(unplugged_ratio=0), dwell_s=0).to_json()
    governed = shutil.copytree(bundle, tmp_path / "governed")
    record = json.loads((governed / "bundle.json").read_text()) | {"governor": lowest}
    _saved(governed / "bundle.json", record)
    command = ("--trace", trace, "--json")
    by_bundle = json.loads(nas("simulate", governed, *command))
    given = ("--governor", _saved(tmp_path / "governor.json", {"policy": lowest["policy"], "dwell_s": 0}))
    by_file = json.loads(nas("simulate", bundle, *command, *given))
    assert by_bundle["steps"] == by_file["steps"]
    assert {step["reason"].partition(":")[0] for step in by_file["steps"]} == {"no charger", "charging"}


def test_out_holds_the_steps_and_a_plot(
    nas: Nas, bundle: Path, trace: Path, device: Path, tmp_path: Path
) -> None:
    command = ("simulate", bundle, "--trace", trace, "--device", device, "--json")
    steps = json.loads(nas(*command, "--out", tmp_path / "new" / "day"))["steps"]
    assert {file.name for file in (tmp_path / "new" / "day").iterdir()} == {
        "simulation.csv",
        "simulation.png",
    }
    assert (tmp_path / "new" / "day" / "simulation.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "new" / "day" / "simulation.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {key: str(cell) for key, cell in step.items()} for step in steps
        ]


@pytest.mark.parametrize("capacity_mj", [None, 100.0])
@pytest.mark.parametrize("heating_c_per_j", [0.0, 100.0])
def test_the_plot_shows_every_step(capacity_mj: float | None, heating_c_per_j: float, bundle: Path) -> None:
    made = Device(capacity_mj=capacity_mj, heating_c_per_j=heating_c_per_j, charge_units=100, heat_units=100)
    day = Trace(tuple(Moment(time_s=second, requests=9, charger_w=second % 2) for second in range(30)))
    levels = Bundle.load(bundle).levels
    governor = Governor(levels, Charger(unplugged_ratio=0), dwell_s=0)
    replay = replay_governor(made, day, governor)
    courses = {
        "governor": follow_day(made, replay),
        "top": follow_day(made, replay_level(made, day, levels, 0)),
    }
    panels = draw_day(courses, levels, throttle_c=80).axes
    assert len(panels) == 1 + (capacity_mj is not None) + (heating_c_per_j > 0)
    lanes = [bars.get_paths() for bars in panels[0].collections]
    used = {step.level for step in replay.steps} | {0}
    assert len(lanes) == 2 * len(used)
    widths = [path.get_extents().width for paths in lanes for path in paths]
    assert sum(widths) == pytest.approx(2 * 30)
    for axes in panels[1:]:
        assert [len(line.get_xdata()) for line in axes.get_lines()][:2] == [30, 30]


def test_a_device_can_do_it_and_a_plot_without_matplotlib_writes_nothing(
    device_program: str, start: Start, bundle: Path, trace: Path, tmp_path: Path
) -> None:
    command = ("-c", device_program, "simulate", bundle, "--trace", trace)
    process = start(*command)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("name")
    process = start(*command, "--out", tmp_path / "out")
    assert "nas-dial[report]" in process.communicate()[1]
    assert process.returncode == 1
    assert not (tmp_path / "out").exists()


def test_the_trace_is_asked_for(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["simulate", str(bundle)])
    assert left.value.code == 2
    assert "--trace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ([], "must be a JSON object with the fields of a device, but got list"),
        ({"colour": 1}, "fields must be of capacity_mj, power_w"),
        ({"power_w": "much"}, 'power_w must be a number, but got "much"'),
        ({"power_w": float("nan")}, "power_w must be a number, but got NaN"),
        ({"idle_w": None}, "idle_w must be a number, but got null"),
        ({"idle_w": True}, "idle_w must be a number, but got true"),
        ({"charge_units": 0}, "charge_units must be a whole number above 0, but got 0"),
        ({"heat_units": 1.5}, "heat_units must be a whole number above 0, but got 1.5"),
        ({"charge_ratio": 2}, "charge_ratio must be from 0 to 1, but got 2"),
        ({"capacity_mj": 1, "charge_units": 10**9}, "moments must be at most 2e+09, but got 1.2e+11"),
    ],
)
def test_what_is_no_device_is_code_2(
    nas: Nas, bundle: Path, trace: Path, tmp_path: Path, record: Any, told: str
) -> None:
    path = _saved(tmp_path / "device.json", record)
    assert told in nas("simulate", bundle, "--trace", trace, "--device", path, code=2)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ("saver", "must be a JSON object with a governor"),
        ({}, "a governor must be as to_json writes it"),
        ({"policy": {"name": "magic"}}, "a governor must be as to_json writes it"),
        ({"policy": {"name": "charger", "unplugged_ratio": 2}}, "unplugged_ratio must be from 0 to 1"),
        ({"policy": {"name": "charger"}, "dial": [99]}, "dial must be levels"),
    ],
)
def test_what_is_no_governor_is_code_2(
    nas: Nas, bundle: Path, trace: Path, tmp_path: Path, record: Any, told: str
) -> None:
    path = _saved(tmp_path / "governor.json", record)
    assert told in nas("simulate", bundle, "--trace", trace, "--governor", path, code=2)


def test_files_that_are_not_there_or_damaged_are_code_2(
    nas: Nas, bundle: Path, trace: Path, tmp_path: Path
) -> None:
    nowhere, broken = tmp_path / "nowhere.json", tmp_path / "broken.json"
    broken.write_bytes(b"{\xff")
    assert "nowhere.json must be a readable CSV" in nas("simulate", bundle, "--trace", nowhere, code=2)
    assert "broken.json" in nas("simulate", bundle, "--trace", broken, code=2)
    for option in ("--device", "--governor"):
        for path in (nowhere, broken):
            told = nas("simulate", bundle, "--trace", trace, option, path, code=2)
            assert f"{path.name} must be a JSON file with" in told
    assert "bundle.json" in nas("simulate", tmp_path, "--trace", trace, code=2)


def test_an_adaptive_governor_beats_the_bands(
    nas: Nas, bundle: Path, trace: Path, device: Path, tmp_path: Path
) -> None:
    """It regrets less than the levels that the battery's charge alone would choose."""
    made = Device(**json.loads(device.read_text()))
    policy = EnergyUntil(capacity_mj=made.capacity_mj or 0, power_w=2.0, usual_hz=REQUESTS)
    levels = Bundle.load(bundle).levels
    path = _saved(tmp_path / "governor.json", Governor(levels, policy, dwell_s=0).to_json())
    command = ("simulate", bundle, "--trace", trace, "--device", device, "--json")
    bands, adaptive = (
        json.loads(nas(*command, *more))["replays"][0]["regret_ratio"] for more in ((), ("--governor", path))
    )
    assert adaptive < bands
