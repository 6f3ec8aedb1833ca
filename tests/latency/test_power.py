"""Meters read what Linux tells of batteries and energy counters, in folders written here as Linux does."""

from pathlib import Path
from time import perf_counter, sleep

import pytest

from nas.latency.power import BatteryGauge, EnergyCounter, PowerMeter, find_meter
from nas.latency.rounds import Stopwatch


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def battery(sysfs: Path, **files: object) -> Path:
    return write(sysfs / "power_supply" / "BAT0", **{"type": "Battery", "status": "Discharging", **files})


def package(sysfs: Path, number: int = 0, **files: object) -> Path:
    values = {"name": f"package-{number}", "energy_uj": 0, "max_energy_range_uj": 10**9, **files}
    return write(sysfs / "powercap" / f"intel-rapl:{number}", **values)


def test_a_counter_gives_energy_over_time(tmp_path: Path) -> None:
    packages = [package(tmp_path, number, energy_uj=5 * 10**8) for number in range(2)]
    meter = find_meter(tmp_path)
    assert isinstance(meter, EnergyCounter)
    begin = perf_counter()
    mean_w = meter.start()
    least_s = -perf_counter()
    sleep(0.02)
    for each in packages:
        write(each, energy_uj=5 * 10**8 + 2 * 10**5)
    least_s += perf_counter()
    power_w = mean_w()
    assert power_w is not None
    assert 0.4 / (perf_counter() - begin) <= power_w <= 0.4 / least_s


def test_a_counter_that_begins_again_has_gone_on(tmp_path: Path) -> None:
    folder = package(tmp_path, energy_uj=10**9 - 10**5)
    mean_w = EnergyCounter([folder]).start()
    write(folder, energy_uj=10**5)
    sleep(0.02)
    power_w = mean_w()
    assert power_w is not None
    assert power_w > 0


def test_a_counter_that_is_lost_tells_nothing(tmp_path: Path) -> None:
    folder = package(tmp_path)
    mean_w = EnergyCounter([folder]).start()
    (folder / "energy_uj").unlink()
    assert mean_w() is None


@pytest.mark.parametrize(
    ("files", "power_w"),
    [
        ({"power_now": 2_500_000}, 2.5),
        ({"power_now": -2_500_000}, 2.5),
        ({"current_now": 500_000, "voltage_now": 4_000_000}, 2.0),
        ({"current_now": -500_000, "voltage_now": 4_000_000}, 2.0),
        ({"power_now": 2_500_000, "status": "Charging"}, None),
        ({"current_now": 500_000}, None),
        ({"power_now": "n/a"}, None),
    ],
)
def test_a_battery_tells_its_power(tmp_path: Path, files: dict[str, object], power_w: float | None) -> None:
    gauge = BatteryGauge(battery(tmp_path, **files))
    assert gauge.power_w == (power_w if power_w is None else pytest.approx(power_w))
    assert (find_meter(tmp_path) is None) == (power_w is None)


def test_a_gauge_is_read_once_it_has_had_time_to_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = battery(tmp_path, power_now=1_000_000)
    clock_s = iter([0.0, 1.0, 0.0, 2.0])
    monkeypatch.setattr("nas.latency.power.perf_counter", lambda: next(clock_s))
    assert BatteryGauge(folder).start()() is None
    lasting_w = BatteryGauge(folder).start()
    write(folder, power_now=3_000_000)
    assert lasting_w() == pytest.approx(3)


def test_the_counters_go_first(tmp_path: Path) -> None:
    folder = battery(tmp_path, power_now=1)
    write(tmp_path / "power_supply" / "AC", type="Mains")
    assert isinstance(find_meter(tmp_path), BatteryGauge)
    package(tmp_path)
    assert isinstance(find_meter(tmp_path), EnergyCounter)
    write(folder, status="Full")
    assert isinstance(find_meter(tmp_path), EnergyCounter)


def test_a_counter_whose_range_is_not_told_is_not_guessed(tmp_path: Path) -> None:
    folder = package(tmp_path, energy_uj=10**6, max_energy_range_uj="")
    mean_w = EnergyCounter([folder]).start()
    write(folder, energy_uj=10)
    sleep(0.02)
    assert mean_w() is None


@pytest.mark.parametrize("files", [{"name": "psys"}, {"name": "dram"}, {"energy_uj": ""}])
def test_other_counters_are_passed_by(tmp_path: Path, files: dict[str, object]) -> None:
    package(tmp_path, **files)
    assert find_meter(tmp_path) is None


def test_a_machine_without_meters(tmp_path: Path) -> None:
    assert find_meter(tmp_path / "none") is None


def test_a_measurement_tells_the_power_meanwhile(tmp_path: Path) -> None:
    meter: PowerMeter = BatteryGauge(battery(tmp_path, power_now=4_000_000))

    def run() -> tuple[float]:
        sleep(2e-4)
        return (2e-3,)

    stopwatch = Stopwatch(lambda: (1e-3,), floor_s=1e-3, meter=meter)
    latency = stopwatch.time(lambda: run, seconds=5, target="board").latency()
    assert latency.power_w == pytest.approx(4)
    assert latency.energy_mj == pytest.approx(8)  # 2 ms
    assert stopwatch.time(lambda: run, seconds=0.01, target="board").latency().energy_mj is None
    without = Stopwatch(lambda: (1e-3,), floor_s=1e-3).time(lambda: run, seconds=0.01, target="board")
    assert without.latency().energy_mj is None
