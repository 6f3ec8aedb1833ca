"""Replay a day on a made-up device: a governor, each fixed level, and the best possible in hindsight.

The day is a CSV file with time_s and requests, and what else happens (nas.simulation.Moment names the
columns). A device is a JSON object with fields of nas.simulation.Device; by default one that neither empties
nor gets hot. A governor is one as nas.runtime.Governor writes it, by default that of the bundle. An
unanswered or late request counts as wrong. Regret is what is missing to the best possible, as a share of
what that is better than the best fixed level; nothing where it is no better.

Example:
  nas simulate runs/d/bundle --trace day.csv
  nas simulate bundle.zip --trace day.csv --device phone.json --governor saver.json --out runs/d/day
"""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.bundle import Bundle, Level, undominated
from nas.cli.arguments import add_json
from nas.cli.output import say, write_json, write_table
from nas.errors import DataError, NasError
from nas.files import whole_file
from nas.report.day import Course, draw_day, follow_day
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.runtime import Governor
    from nas.simulation import Device, Replay, Trace

__all__ = ["add_arguments", "execute"]

GOVERNOR, BEST = "governor", "best in hindsight"
MOST_CHOICES = 2e9  # bytes: one for each state of the device at each moment
EQUAL = 1e-9  # accuracies that rounding alone tells apart
FIELDS = ("time_s", "level", "best_level", "battery_ratio", "temperature_c", "reason")
COUNTED = ("charge_units", "heat_units")
OPTIONAL = ("capacity_mj", "power_w")


@final
@dataclass(frozen=True, kw_only=True)
class Day:
    """One way through the day; `left` is the share of the battery at its end."""

    name: str
    replay: Replay
    level: int | None
    left: float | None


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or zip that nas export wrote")
    parser.add_argument("--trace", type=Path, metavar="CSV", required=True, help="the day to replay")
    parser.add_argument("--device", type=Path, metavar="JSON", help="battery, heat and power of the device")
    parser.add_argument("--governor", type=Path, metavar="JSON", help="to replay instead of the bundle's")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write simulation.csv and simulation.png")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.simulation import Trace

    bundle = Bundle.load(arguments.bundle)
    governor = _governor(arguments.governor, bundle)
    trace = Trace.load(arguments.trace)
    device = _solvable(_device(arguments.device), len(trace.moments))
    days = _days(device, trace, governor)
    courses = {day.name: follow_day(device, day.replay) for day in (days[0], days[-1])}
    rows = _rows(*courses.values())
    if arguments.out:
        figure = draw_day(courses, bundle.levels, throttle_c=device.throttle_c)
        arguments.out.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.out / "simulation.png")
        _write_csv(arguments.out / "simulation.csv", rows)
        say(f"wrote {arguments.out / 'simulation.csv'} and {arguments.out / 'simulation.png'}")
    if arguments.json:
        told = {"bundle": str(arguments.bundle), "trace": str(arguments.trace), "device": asdict(device)}
        write_json(told | {"replays": _told(days), "steps": rows})
    else:
        write_table(_table(_told(days)))


def _governor(path: Path | None, bundle: Bundle) -> Governor:
    from nas.runtime import Governor

    if path is None:
        return Governor.of(bundle)
    record = _read_object(path, "a governor as nas.runtime.Governor.to_json writes it")
    try:
        return Governor.from_json(record, bundle.levels)
    except NasError as error:
        raise DataError(f"{path}: {error}") from error


def _device(path: Path | None) -> Device:
    from nas.simulation import Device

    if path is None:
        return Device()
    record, known = _read_object(path, "the fields of a device"), asdict(Device())
    if unknown := sorted(record.keys() - known):
        raise DataError(f"{path}: fields must be of {', '.join(known)}, but got {unknown[0]}; leave it out")
    for name, value in record.items():
        if not (_is_number(name, value) or (value is None and name in OPTIONAL)):
            kind = "a whole number above 0" if name in COUNTED else "a number"
            raise DataError(f"{path}: {name} must be {kind}, but got {json.dumps(value)}; mend it")
    try:
        return Device(**record)
    except NasError as error:
        raise DataError(f"{path}: {error}") from error


def _solvable(device: Device, moments: int) -> Device:
    """The device in coarser units where its own are the usual ones, and too fine to be solved for a day."""
    from nas.simulation import Device

    most = max(1, int(MOST_CHOICES / moments))
    usual = Device()
    both = bool(device.most_charge and device.most_heat)
    heat_units = min(usual.heat_units, 240 if both else most)
    charge_units = min(usual.charge_units, 6000 if both else most, most // (heat_units + 1) if both else most)
    return replace(
        device,
        charge_units=charge_units if device.charge_units == usual.charge_units else device.charge_units,
        heat_units=heat_units if device.heat_units == usual.heat_units else device.heat_units,
    )


def _is_number(name: str, value: object) -> bool:
    """Whether a field of a device may have a value; Python's JSON lets endless numbers through."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) and value > 0 if name in COUNTED else abs(value) < float("inf")


def _read_object(path: Path, meaning: str) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file with {meaning}, but got {error}; give one") from error
    if not isinstance(record, dict):
        got = type(record).__name__
        raise DataError(f"{path} must be a JSON object with {meaning}, but got {got}; give one")
    return record


def _days(device: Device, trace: Trace, governor: Governor) -> tuple[Day, ...]:
    """The governor, each fixed level, and the best of the undominated levels and those of the governor."""
    from nas.simulation import best_replay, replay_governor, replay_level

    choices = (device.most_charge + 1) * (device.most_heat + 1) * len(trace.moments)
    if choices > MOST_CHOICES:
        rule = f"charge_units x heat_units x moments must be at most {MOST_CHOICES:.0e}"
        raise DataError(
            f"{rule}, but got {choices:.3g}; give the device fewer units or the day fewer moments"
        )
    levels = governor.levels
    dial = sorted({*undominated(levels), *(governor.dial or ()), governor.level})
    found = best_replay(device, trace, [levels[number] for number in dial])
    best = replace(found, steps=tuple(replace(step, level=dial[step.level]) for step in found.steps))
    replays: list[tuple[str, Replay, int | None]] = [
        (GOVERNOR, replay_governor(device, trace, governor), None)
    ]
    for number, level in enumerate(levels):
        name = f"level {number}: {level.model} exit {level.exit}"
        replays.append((name, replay_level(device, trace, levels, number), number))
    replays.append((BEST, best, None))
    return tuple(
        Day(name=name, replay=replay, level=number, left=_left(device, trace, replay, levels))
        for name, replay, number in replays
    )


def _left(device: Device, trace: Trace, replay: Replay, levels: tuple[Level, ...]) -> float | None:
    last = replay.steps[-1]
    after, _ = device.advance(last.state, last.moment, levels[last.level], trace.step_s)
    return device.battery_ratio(after)


def _told(days: tuple[Day, ...]) -> list[dict[str, Any]]:
    """What there is to tell of each; regret is None where no level all day leaves anything to gain."""
    most = days[-1].replay.accuracy
    gain = most - max(day.replay.accuracy for day in days if day.level is not None)
    return [
        {
            "name": day.name,
            "level": day.level,
            "accuracy": day.replay.accuracy,
            "unanswered_ratio": day.replay.unanswered_ratio,
            "missed_ratio": day.replay.missed_ratio,
            "switches": day.replay.switches,
            "regret_ratio": (most - day.replay.accuracy) / gain if gain > EQUAL else None,
            "battery_ratio": day.left,
        }
        for day in days
    ]


def _table(told: list[dict[str, Any]]) -> Table:
    header = ("name", "accuracy", "unanswered %", "missed %", "switches", "regret %", "battery left %")
    rows = [
        (
            row["name"],
            row["accuracy"],
            *(_percent(row[key]) for key in ("unanswered_ratio", "missed_ratio")),
            row["switches"],
            *(_percent(row[key]) for key in ("regret_ratio", "battery_ratio")),
        )
        for row in told
    ]
    return Table.of(header, rows)


def _percent(ratio: float | None) -> str | None:
    return (
        None if ratio is None else f"{abs(100 * ratio):.1f}" if abs(ratio) < EQUAL else f"{100 * ratio:.1f}"
    )


def _rows(governed: Course, best: Course) -> list[dict[str, Any]]:
    """The steps of the governor, with the level that was best."""
    columns = (
        governed.times_s,
        governed.levels,
        best.levels,
        governed.battery_ratios,
        governed.temperatures_c,
        governed.reasons,
    )
    return [dict(zip(FIELDS, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
