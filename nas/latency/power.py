"""What power a machine draws, where it can tell: by its processor's energy counters or its battery's gauge.

Both are files of Linux: the powercap folder (Intel's and AMD's RAPL counters, readable by root on most
systems) and the power supply folder. What they tell is of the whole processor or device, with all that runs
on it, and not of one program.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import final

__all__ = ["BatteryGauge", "EnergyCounter", "PowerMeter", "find_meter"]

SYSFS = Path("/sys/class")

_PACKAGE = re.compile(r"intel-rapl:\d+")  # the name that AMD's have too


class PowerMeter(ABC):
    """Tells the power of this machine."""

    least_s: float
    """For how long it must watch to tell anything."""

    @abstractmethod
    def start(self) -> Callable[[], float | None]:
        """Begin to watch; the function gives the power since then in watts, None where that is not known."""


@final
class EnergyCounter(PowerMeter):
    """Counters in microjoules, one for each processor package, that begin again at 0 beyond their range."""

    least_s = 0.01  # counters go on every millisecond

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._range_uj = [_number(folder / "max_energy_range_uj") or 0.0 for folder in folders]

    def start(self) -> Callable[[], float | None]:
        begin_s, begin_uj = perf_counter(), self._read_uj()

        def mean_w() -> float | None:
            spent_s, end_uj = perf_counter() - begin_s, self._read_uj()
            spent_uj = 0.0
            for begin, end, range_uj in zip(begin_uj, end_uj, self._range_uj, strict=True):
                if begin is None or end is None:
                    return None
                spent_uj += end - begin if end >= begin else end - begin + range_uj
            known = spent_s >= self.least_s and spent_uj >= 0  # below 0 where the range is not told
            return spent_uj * 1e-6 / spent_s if known else None

        return mean_w

    def _read_uj(self) -> list[float | None]:
        return [_number(folder / "energy_uj") for folder in self._folders]


@final
class BatteryGauge(PowerMeter):
    """A battery that tells its power, or its current and voltage, while it discharges.

    Gauges follow with a delay of about a second, so what counts is what it tells at the end.
    """

    least_s = 1.5

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self) -> Callable[[], float | None]:
        begin_s = perf_counter()

        def lasting_w() -> float | None:
            return self.power_w if perf_counter() - begin_s >= self.least_s else None

        return lasting_w

    @property
    def power_w(self) -> float | None:
        """Watts now; None on a charger, of which the gauge tells nothing."""
        if _text(self._folder / "status") != "Discharging":
            return None
        power_uw = _number(self._folder / "power_now")
        if power_uw is None:
            current_ua, voltage_uv = (
                _number(self._folder / f"{name}_now") for name in ("current", "voltage")
            )
            if current_ua is None or voltage_uv is None:
                return None
            power_uw = current_ua * voltage_uv * 1e-6
        return abs(power_uw) * 1e-6  # some drivers count what leaves the battery below 0


def find_meter(sysfs: Path = SYSFS) -> PowerMeter | None:
    """The meter of this machine: the processor's counters, else a battery that discharges, else none."""
    packages = [
        folder
        for folder in sorted(sysfs.glob("powercap/*"))
        if _PACKAGE.fullmatch(folder.name)
        and _text(folder / "name").startswith("package")
        and _number(folder / "energy_uj") is not None
    ]
    if packages:
        return EnergyCounter(packages)
    for folder in sorted(sysfs.glob("power_supply/*")):
        if _text(folder / "type") == "Battery" and BatteryGauge(folder).power_w is not None:
            return BatteryGauge(folder)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
