"""What a device tells about its state: read from the system, a recorded trace or a made-up battery."""

from __future__ import annotations

import csv
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, final

import psutil

from nas.bundle import Level
from nas.errors import DataError

__all__ = ["RecordedTrace", "SignalSource", "Signals", "SyntheticBattery", "SystemSignals"]

_MOST = 1e15  # far beyond any device; so sums and products of signals stay finite
_SWITCH = {"true": True, "1": True, "false": False, "0": False}
_PLUGGED = {"Charging": True, "Full": True, "Discharging": False}


@final
@dataclass(frozen=True, kw_only=True)
class Signals:
    """The state of a device at one moment, and what is asked of it; what is not known is None.

    `battery_ratio` is 0..1, `load` the runnable processes per core, `time_s` a clock that starts anywhere.
    `latency_ms` is how long an inference took at the level in force since the signals before, `requests_hz`
    how many are asked a second. Asked are an answer within `deadline_ms`, a battery that lasts until the
    clock shows `until_s`, and by the user the level `pin`.
    """

    battery_ratio: float | None = None
    charging: bool | None = None
    temperature_c: float | None = None
    load: float | None = None
    time_s: float | None = None
    latency_ms: float | None = None
    requests_hz: float | None = None
    deadline_ms: float | None = None
    until_s: float | None = None
    pin: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not abs(value) <= _MOST:  # which NaN is not either
                rule = f"{name} must be a number within {_MOST:g}"
                raise DataError(f"{rule}, but got {value}; leave it out if it is not known")
        for name in ("latency_ms", "requests_hz", "deadline_ms", "pin"):
            if (getattr(self, name) or 0) < 0:
                raise DataError(f"{name} must not be below 0, but got {getattr(self, name)}; leave it out")
        if self.battery_ratio is not None and not 0 <= self.battery_ratio <= 1:
            rule = "battery_ratio must be from 0 to 1"
            raise DataError(f"{rule}, but got {self.battery_ratio}; give 0.38 for 38 %")


class SignalSource(ABC):
    """Where signals come from."""

    @abstractmethod
    def read(self) -> Signals:
        """The state now; EOFError when a source that ends has ended."""

    def __iter__(self) -> Iterator[Signals]:
        """Read until the source ends."""
        while True:
            try:
                signals = self.read()
            except EOFError:
                return
            yield signals


@final
@dataclass(frozen=True, kw_only=True)
class SystemSignals(SignalSource):
    """The machine this runs on; on a machine without a battery `battery_ratio` is None.

    psutil knows only some names of batteries on Linux, so the kernel's own list is the second source.
    """

    power_supply: Path = Path("/sys/class/power_supply")
    clock: Callable[[], float] = time.monotonic

    def read(self) -> Signals:
        """The state now; the temperature is the hottest sensor's."""
        battery_ratio, charging = _psutil_battery() or _kernel_battery(self.power_supply) or (None, None)
        return Signals(
            battery_ratio=battery_ratio,
            charging=charging,
            temperature_c=_temperature_c(),
            load=psutil.getloadavg()[0] / (psutil.cpu_count() or 1),
            time_s=self.clock(),
        )


@final
class RecordedTrace(SignalSource):
    """A recorded run, read row by row; `signals` holds all of it for a replay."""

    def __init__(self, signals: Iterable[Signals]) -> None:
        self.signals = tuple(signals)
        self._unread = iter(self.signals)

    @classmethod
    def load(cls, path: str | Path) -> RecordedTrace:
        """Read a CSV file.

        Its header has `time_s`, one of `battery_ratio` (0..1) and `battery_percent`, and may have `charging`
        (true or false) and any other signal. An empty cell is one that is not known.
        """
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                trace = cls(_rows(file, path))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} must be a readable CSV file, but got {error}; give a trace") from error
        if not trace.signals:
            raise DataError(f"{path} must have at least one row, but has only its header; record a trace")
        return trace

    def read(self) -> Signals:
        """The next row."""
        try:
            return next(self._unread)
        except StopIteration:
            raise EOFError("the trace has ended") from None


@final
@dataclass(frozen=True, kw_only=True)
class SyntheticBattery(SignalSource):
    """A battery that each inference drains; a value, so `use` gives the battery afterwards.

    A level without measured energy is charged its median time at `power_w`, which is an estimate.
    """

    capacity_mj: float
    power_w: float = 1.0
    used_mj: float = 0.0
    time_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.capacity_mj < math.inf or not 0 <= self.power_w < math.inf:
            rule = "capacity_mj must be above 0 and power_w not below 0, both finite"
            raise DataError(f"{rule}, but got {self.capacity_mj} and {self.power_w}; give a real battery")

    def use(self, level: Level, runs: int = 1) -> SyntheticBattery:
        """The battery after `runs` inferences at a level, one after the other."""
        latency = level.measured
        energy_mj = latency.p50_ms * self.power_w if level.energy_mj is None else level.energy_mj
        return replace(
            self,
            used_mj=min(self.capacity_mj, self.used_mj + runs * energy_mj),
            time_s=self.time_s + runs * latency.p50_ms / 1000,
        )

    def read(self) -> Signals:
        """What is left, and the time that the inferences took."""
        return Signals(battery_ratio=1 - self.used_mj / self.capacity_mj, charging=False, time_s=self.time_s)


def _rows(file: Iterable[str], path: str | Path) -> Iterator[Signals]:
    reader = csv.reader(file, strict=True)
    header = [name.strip() for name in next(reader, [])]
    _check_header(header, path)
    last_s = -math.inf
    for cells in reader:
        try:
            signals = _signals(header, cells)
        except ValueError as error:
            raise DataError(f"{path} line {reader.line_num}: {error}") from error
        if signals.time_s is None or signals.time_s < last_s:
            rule = f"time_s must be there and not fall below {last_s:g}"
            raise DataError(f"{path} line {reader.line_num}: {rule}, but got {signals.time_s}; sort the rows")
        last_s = signals.time_s
        yield signals


def _check_header(header: list[str], path: str | Path) -> None:
    known = ["battery_percent", *(each.name for each in fields(Signals))]
    charges = [name for name in header if name.startswith("battery_")]
    if (
        len(set(header)) < len(header)
        or not set(header) <= set(known)
        or "time_s" not in header
        or len(charges) != 1
    ):
        rule = f"the header must have time_s, one battery column and no others than {', '.join(known)}"
        raise DataError(
            f"{path} line 1: {rule}, but got {', '.join(header) or 'nothing'}; name the columns so"
        )


def _signals(header: list[str], cells: list[str]) -> Signals:
    if len(cells) != len(header):
        raise DataError(f"a row must have {len(header)} cells, but has {len(cells)}; complete it")
    values = {
        name: _reading(name, cell.strip()) for name, cell in zip(header, cells, strict=True) if cell.strip()
    }
    if "battery_percent" in values:
        values["battery_ratio"] = values.pop("battery_percent") / 100
    return Signals(**values)


def _reading(name: str, cell: str) -> Any:
    try:
        return _SWITCH[cell.lower()] if name == "charging" else int(cell) if name == "pin" else float(cell)
    except (KeyError, ValueError):
        kind = "true or false" if name == "charging" else "a number"
        raise DataError(f"{name} must be {kind}, but got {cell!r}; leave it empty if unknown") from None


def _psutil_battery() -> tuple[float, bool | None] | None:
    """Charge and whether the charger is in; psutil has no such function on some systems."""
    battery = getattr(psutil, "sensors_battery", lambda: None)()
    return None if battery is None else (min(1.0, battery.percent / 100), battery.power_plugged)


def _kernel_battery(folder: Path) -> tuple[float, bool | None] | None:
    """Mean charge of the batteries that Linux lists under any name, except those of mice and the like."""
    ratios, plugged = [], []
    for supply in sorted(folder.glob("*")):
        ratio = _charge_ratio(supply)
        if _text(supply / "type") == "Battery" and _text(supply / "scope") != "Device" and ratio is not None:
            ratios.append(min(1.0, ratio))
            plugged.append(_PLUGGED.get(_text(supply / "status")))
    if not ratios:
        return None
    known = [state for state in plugged if state is not None]
    return sum(ratios) / len(ratios), any(known) if known else None


def _charge_ratio(supply: Path) -> float | None:
    """The charge in microwatt or microampere hours over that when full, else in whole percent."""
    for now, full in (("energy_now", "energy_full"), ("charge_now", "charge_full")):
        numbers = [_text(supply / name) for name in (now, full)]
        if all(number.isdecimal() for number in numbers) and int(numbers[1]):
            return int(numbers[0]) / int(numbers[1])
    capacity = _text(supply / "capacity")
    return int(capacity) / 100 if capacity.isdecimal() else None


def _text(file: Path) -> str:
    """Contents of a small file of the kernel, empty where there is none."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _temperature_c() -> float | None:
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    readings = [sensor.current for chip in sensors.values() for sensor in chip]
    return max((reading for reading in readings if reading is not None), default=None)
