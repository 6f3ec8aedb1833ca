"""Writes the days through which governors are replayed: five to tune on and a sixth that never was.

Each is a CSV of moments, a second or two apart, and a JSON file with the device. They are drawn from fixed
seeds and kept in results/runtime/traces, with the levels: those of a bundle of three trained networks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from nas.bundle import Level
from nas.simulation import Device, Moment, Trace

__all__ = ["TUNED", "UNSEEN", "load", "load_levels", "write"]

TUNED = ("drain", "charge", "slowdown", "heat", "flapping")
UNSEEN = "unseen"

NOISE_P95 = 1.15  # of the time of one inference over its median, on the made-up device
_SIGMA = math.log(NOISE_P95) / 1.645
IDLE_W = 0.001


def write(folder: Path) -> None:
    """All traces with their devices."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, make) in enumerate(_TRACES.items()):
        device, moments = make(Random(number))
        Trace(tuple(moments)).save(folder / f"{name}.csv")
        (folder / f"{name}.json").write_text(json.dumps(asdict(device), indent=2) + "\n")


def load(folder: Path, name: str) -> tuple[Device, Trace]:
    """A device and its day."""
    return Device(**json.loads((folder / f"{name}.json").read_text())), Trace.load(folder / f"{name}.csv")


def load_levels(folder: Path) -> tuple[Level, ...]:
    """The levels, whose 95th percentiles are those of the made-up device."""
    levels = [Level.from_json(record) for record in json.loads((folder / "levels.json").read_text())]
    return tuple(
        replace(level, latency=replace(level.latency, p95_ms=level.latency.p50_ms * NOISE_P95))
        for level in levels
        if level.latency
    )


def _day(
    rng: Random, seconds: int, requests: float, *, swing: float = 0.4, step_s: int = 1
) -> Iterator[Moment]:
    """Requests a step that rise and fall over some minutes; observed times that do not always agree."""
    phase = rng.uniform(0, 2 * math.pi)
    for second in range(0, seconds, step_s):
        mean = requests * (1 + swing * math.sin(2 * math.pi * second / 300 + phase))
        yield Moment(
            time_s=second,
            requests=max(0, round(rng.gauss(mean, math.sqrt(mean)))),
            noise=math.exp(rng.gauss(0, _SIGMA)),
        )


def _drain(rng: Random) -> tuple[Device, list[Moment]]:
    """A battery that is enough for neither the best nor only the cheapest levels."""
    moments = [replace(moment, until_s=1200) for moment in _day(rng, 1200, 20)]
    return Device(capacity_mj=24_000 * 0.28 + 1200, idle_w=IDLE_W), moments


def _charge(rng: Random) -> tuple[Device, list[Moment]]:
    """A third of a battery, a charger from 500 s to 800 s that was announced, and then none for long."""
    moments = [
        replace(moment, until_s=500 if second < 500 else 1200, charger_w=0.016 if 500 <= second < 800 else 0)
        for second, moment in enumerate(_day(rng, 1200, 20))
    ]
    return Device(capacity_mj=6000, idle_w=IDLE_W, charge_ratio=0.45), moments


def _slowdown(rng: Random) -> tuple[Device, list[Moment]]:
    """Answers are due in 0.3 ms, and another program halves the speed for five minutes, then for one."""
    moments = []
    for second, moment in enumerate(_day(rng, 1200, 20)):
        slow = 300 <= second < 600 or 900 <= second < 960
        moments.append(
            replace(
                moment,
                slowdown=2 if slow else 1,
                deadline_ms=0.3,
                changed=second in (300, 600, 900, 960),
            )
        )
    return Device(), moments


def _heat(rng: Random) -> tuple[Device, list[Moment]]:
    """A chip that the best level would overheat, and sun on it for a third of the time."""
    moments = [
        replace(moment, deadline_ms=0.3, heat_w=0.02 if 400 <= second < 700 else 0)
        for second, moment in enumerate(_day(rng, 1200, 200, swing=0.2))
    ]
    return Device(heating_c_per_j=13, cooling_s=60, throttle_c=80), moments


def _flapping(rng: Random) -> tuple[Device, list[Moment]]:
    """A charger with a loose contact."""
    moments, plugged, left = [], False, 0
    for moment in _day(rng, 1200, 20):
        if not left:
            plugged, left = not plugged, rng.randint(3, 40)
        left -= 1
        moments.append(replace(moment, until_s=1200, charger_w=0.006 if plugged else 0))
    return Device(capacity_mj=6000, idle_w=IDLE_W, charge_ratio=0.6), moments


def _unseen(rng: Random) -> tuple[Device, list[Moment]]:
    """All at once, otherwise: fewer and fewer requests, a charger twice, a slow-down, a deadline, heat."""
    moments = []
    for moment in _day(rng, 900, 120, swing=0.5, step_s=2):
        second = round(moment.time_s)
        slow = 500 <= second < 650
        moments.append(
            replace(
                moment,
                requests=round(moment.requests * (1.3 - 0.6 * second / 900)),
                slowdown=1.7 if slow else 1,
                deadline_ms=0.35 if second >= 200 else None,
                charger_w=0.02 if 250 <= second < 330 or 700 <= second < 740 else 0,
                heat_w=0.004 if 400 <= second < 600 else 0,
                until_s=900,
                changed=second in (200, 500, 650),
            )
        )
    return Device(
        capacity_mj=54_000 * 0.25,
        idle_w=2 * IDLE_W,
        charge_ratio=0.9,
        charge_units=6000,
        heating_c_per_j=40,
        cooling_s=45,
        heat_units=240,
    ), moments


_TRACES: dict[str, Callable[[Random], tuple[Device, list[Moment]]]] = {
    "drain": _drain,
    "charge": _charge,
    "slowdown": _slowdown,
    "heat": _heat,
    "flapping": _flapping,
    UNSEEN: _unseen,
}

if __name__ == "__main__":
    write(Path(__file__).parents[2] / "results" / "runtime" / "traces")
