"""A day of a device, second by second: what is asked of it, and what happens to it."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, final

from nas.errors import DataError

__all__ = ["Moment", "Trace"]


@final
@dataclass(frozen=True, kw_only=True)
class Moment:
    """One step of a trace, which begins at `time_s`; what does not apply is None."""

    time_s: float
    requests: int
    """How many inferences are asked within the step."""
    slowdown: float = 1.0
    """By which the median times of all levels are multiplied."""
    noise: float = 1.0
    """By which the one inference that is observed differs from the median."""
    deadline_ms: float | None = None
    charger_w: float = 0.0
    """Power that a charger gives; 0 without one."""
    heat_w: float = 0.0
    """Heat from outside, such as of the sun."""
    until_s: float | None = None
    """The time that the battery shall last until."""
    changed: bool = False
    """Whether something has changed suddenly less than a second ago, so that misses are not counted."""

    def __post_init__(self) -> None:
        lowest = {"requests": 0, "slowdown": 1e-3, "noise": 1e-3, "charger_w": 0, "heat_w": 0}
        for name, low in lowest.items():
            value = getattr(self, name)
            if not low <= value <= 1e12:  # which NaN is not either
                raise DataError(
                    f"{name} must be finite and not below {low:g}, but got {value}; mend the trace"
                )
        for name in ("time_s", "until_s"):
            if not math.isfinite(getattr(self, name) or 0):
                raise DataError(f"{name} must be finite, but got {getattr(self, name)}; mend the trace")
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise DataError(
                f"deadline_ms must be above 0, but got {self.deadline_ms}; leave it empty for none"
            )


@final
@dataclass(frozen=True)
class Trace:
    """Moments that are equally far apart."""

    moments: tuple[Moment, ...]

    def __post_init__(self) -> None:
        times = [moment.time_s for moment in self.moments]
        if len(times) < 2:
            raise DataError(f"a trace must have at least two moments, but has {len(times)}; record more")
        steps = [after - before for before, after in pairwise(times)]
        if not (steps[0] > 0 and all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)):
            raise DataError(
                f"moments must be equally far apart, but {min(steps):g} to {max(steps):g} s lie between; "
                "resample them"
            )

    @property
    def step_s(self) -> float:
        """Seconds from one moment to the next."""
        return self.moments[1].time_s - self.moments[0].time_s

    @property
    def requests(self) -> int:
        """How many inferences are asked in all."""
        return sum(moment.requests for moment in self.moments)

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.moments)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a CSV file whose header names fields of `Moment`; an empty cell is what does not apply."""
        try:
            with Path(path).open(newline="", encoding="utf-8-sig") as file:
                return cls(tuple(_moments(file, path)))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} must be a readable CSV file, but got {error}; give a trace") from error

    def save(self, path: str | Path) -> None:
        """Write what `load` reads."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([each.name for each in fields(Moment)])
            for moment in self.moments:
                writer.writerow([_cell(getattr(moment, each.name)) for each in fields(Moment)])


def _moments(file: Iterable[str], path: str | Path) -> Iterator[Moment]:
    reader = csv.DictReader(file, strict=True)
    known = {each.name for each in fields(Moment)}
    header = set(reader.fieldnames or ())
    if not {"time_s", "requests"} <= header <= known:
        rule = f"the header must have time_s and requests and may have {', '.join(sorted(known))}"
        raise DataError(
            f"{path} line 1: {rule}, but got {', '.join(sorted(map(str, header)))}; name columns so"
        )
    for row in reader:
        try:
            if None in row or None in row.values() or not (row["time_s"] and row["requests"]):
                raise DataError("a row must have a cell for each column, time_s and requests; complete it")
            yield Moment(**{name: _value(name, cell) for name, cell in row.items() if cell})
        except DataError as error:
            raise DataError(f"{path} line {reader.line_num}: {error}") from error


def _value(name: str, cell: str) -> Any:
    try:
        if name == "changed":
            return {"true": True, "1": True, "false": False, "0": False}[cell.strip().lower()]
        return int(cell) if name == "requests" else float(cell)
    except (KeyError, ValueError):
        kind = {"changed": "true or false", "requests": "a whole number"}.get(name, "a number")
        raise DataError(f"{name} must be {kind}, but got {cell!r}; mend the trace") from None


def _cell(value: float | bool | None) -> str:
    if value is None or value is False:
        return ""
    return "true" if value is True else repr(value)
