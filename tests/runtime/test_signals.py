"""Signals say what is known and nothing else, wherever they come from."""

from itertools import islice

import psutil
import pytest

from nas.bundle import Latency, Level
from nas.errors import BundleError, DataError
from nas.runtime import RecordedTrace, Signals, SyntheticBattery, SystemSignals

NO_BATTERY_HERE = psutil.sensors_battery() is None


def _supply(folder, name, **files):
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_text(f"{text}\n")


def _trace(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_bytes(text.encode())
    return path


def _level(**changes):
    latency = Latency(p50_ms=2.0, p95_ms=3.0, spread=0.1, runs=9, target="test machine")
    return Level(**{"model": "a", "exit": 0, "accuracy": 0.5, "macs": 1, "latency": latency} | changes)


def test_what_is_not_known_is_none():
    assert set(vars(Signals()).values()) == {None}


@pytest.mark.parametrize("name", ["battery_ratio", "temperature_c", "load", "time_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_signal_is_finite(name, value):
    with pytest.raises(DataError, match=f"{name} must be a number within"):
        Signals(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, 38])
def test_a_charge_is_a_ratio(value):
    with pytest.raises(DataError, match=r"battery_ratio must be from 0 to 1, but got .*; give 0\.38"):
        Signals(battery_ratio=value)


def test_the_system_answers_with_or_without_a_battery():
    signals = SystemSignals(clock=lambda: 7.0).read()
    assert signals.time_s == 7.0
    assert signals.load is not None
    assert signals.load >= 0


@pytest.mark.skipif(not NO_BATTERY_HERE, reason="psutil answers first where it knows the battery")
@pytest.mark.parametrize(
    ("status", "charging"), [("Charging", True), ("Full", True), ("Discharging", False), ("Unknown", None)]
)
def test_the_kernel_lists_batteries_of_any_name(tmp_path, status, charging):
    _supply(tmp_path, "AC", type="Mains", online="1")
    _supply(tmp_path, "C1AB", type="Battery", capacity="38", status=status)
    _supply(tmp_path, "mouse", type="Battery", scope="Device", capacity="90", status="Discharging")
    _supply(tmp_path, "odd", type="Battery", capacity="?")
    signals = SystemSignals(power_supply=tmp_path).read()
    assert (signals.battery_ratio, signals.charging) == (0.38, charging)


@pytest.mark.parametrize("quantity", ["energy", "charge"])
def test_a_gauge_in_micro_hours_is_finer_than_percent(monkeypatch, tmp_path, quantity):
    monkeypatch.setattr("nas.runtime.signals.psutil.sensors_battery", lambda: None, raising=False)
    hours = {f"{quantity}_now": "12345000", f"{quantity}_full": "50000000"}
    _supply(tmp_path, "BATT", type="Battery", capacity="24", status="Discharging", **hours)
    assert SystemSignals(power_supply=tmp_path).read().battery_ratio == 0.2469


def test_a_trace_may_have_any_signal(tmp_path):
    (tmp_path / "t.csv").write_text(
        "time_s,battery_ratio,deadline_ms,pin,until_s\n0,0.5,0.3,2,\n1,0.4,,,60\n"
    )
    first, second = RecordedTrace.load(tmp_path / "t.csv").signals
    assert (first.deadline_ms, first.pin, first.until_s) == (0.3, 2, None)
    assert (second.deadline_ms, second.pin, second.until_s) == (None, None, 60.0)


@pytest.mark.skipif(not NO_BATTERY_HERE, reason="psutil answers first where it knows the battery")
def test_a_machine_without_a_battery_has_no_charge(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        signals = SystemSignals(power_supply=folder).read()
        assert (signals.battery_ratio, signals.charging) == (None, None)


def test_a_trace_is_read_row_by_row(tmp_path):
    text = "\ufefftime_s, battery_percent,charging,load\r\n0,50,false,\r\n10,,True,0.5\r\n"
    trace = RecordedTrace.load(_trace(tmp_path, text))
    rows = (
        Signals(time_s=0, battery_ratio=0.5, charging=False),
        Signals(time_s=10, charging=True, load=0.5),
    )
    assert trace.signals == rows
    assert tuple(trace) == rows
    with pytest.raises(EOFError):
        trace.read()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the header must have time_s, .* but got nothing"),
        ("time_s\n0\n", "line 1: the header must have time_s, one battery column"),
        ("battery_ratio\n0.5\n", "line 1: the header must have time_s"),
        ("time_s,battery_ratio,battery_percent\n", "line 1: .* one battery column"),
        ("time_s,time_s,battery_ratio\n", "line 1: the header"),
        ("time_s,battery_ratio,volts\n", "line 1: .* got time_s, battery_ratio, volts"),
        ("time_s,battery_ratio\n", "at least one row"),
        ("time_s,battery_ratio\n0,0.5\n1\n", "line 3: a row must have 2 cells, but has 1"),
        ("time_s,battery_ratio\n0,0.5\n1,half\n", "line 3: battery_ratio must be a number, but got 'half'"),
        ("time_s,battery_ratio\n0,nan\n", "line 2: battery_ratio must be a number within"),
        ("time_s,battery_ratio\n0,1.5\n", r"line 2: battery_ratio must be from 0 to 1, but got 1\.5"),
        ("time_s,battery_percent\n0,150\n", "line 2: battery_ratio must be from 0 to 1"),
        ("time_s,battery_ratio\n,0.5\n", "line 2: time_s must be there .* got None"),
        (
            "time_s,battery_ratio\n5,0.5\n4,0.5\n",
            r"line 3: time_s must be there and not fall below 5, but got 4\.0",
        ),
        (
            "time_s,battery_ratio,charging\n0,1,maybe\n",
            "line 2: charging must be true or false, but got 'maybe'",
        ),
        ('time_s,battery_ratio\n0,"0.5', "must be a readable CSV file"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path, text, sentence):
    with pytest.raises(DataError, match=f"trace.csv.* {sentence}"):
        RecordedTrace.load(_trace(tmp_path, text))


def test_a_trace_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("absent.csv", "binary.csv", "."):
        with pytest.raises(DataError, match="must be a readable CSV file"):
            RecordedTrace.load(tmp_path / name)


def test_a_battery_is_drained_by_measured_energy_or_by_time():
    battery = SyntheticBattery(capacity_mj=100, power_w=3)
    assert battery.use(_level(), runs=5).read() == Signals(battery_ratio=0.7, charging=False, time_s=0.01)
    assert battery.use(_level(energy_mj=0.5), runs=50).read().battery_ratio == 0.75
    assert battery.use(_level(), runs=1000).read().battery_ratio == 0
    assert battery.read().battery_ratio == 1
    assert [signals.battery_ratio for signals in islice(battery, 3)] == [1, 1, 1]


def test_a_battery_must_be_able_to_drain():
    with pytest.raises(DataError, match="capacity_mj must be above 0"):
        SyntheticBattery(capacity_mj=0)
    with pytest.raises(BundleError, match="a level must have a measured latency, but a exit 0 has none"):
        SyntheticBattery(capacity_mj=1).use(_level(latency=None))
