"""Writes tests/web/governor_cases.json: what the governor does, for nas/web/governor.js to do the same.

Run it after a change of policies that is meant: `python scripts/governor_cases.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

from nas.bundle import Latency, Level
from nas.runtime import (
    BatteryBands,
    Charger,
    Deadline,
    EnergyUntil,
    Governor,
    Lowest,
    Policy,
    Signals,
    ThermalClamp,
    UserPin,
)
from nas.runtime.policy import short

FILE = Path(__file__).parents[1] / "tests" / "web" / "governor_cases.json"
CASES, STEPS, NUMBERS = 64, 40, 300
CAPACITY_MJ = 5000.0
HOT_C = (62.5, 65.0, 70.0)
SIGNALS = tuple(each.name for each in fields(Signals))


def main() -> None:
    """Each case on a line of its own, so that a change shows as one."""
    parts = {"signals": _line(SIGNALS), "numbers": _line(_numbers(Random(0)))}
    lines = [f'"{name}": {line}' for name, line in parts.items()]
    cases = ",\n".join(_line(_case(number)) for number in range(CASES))
    FILE.write_text("{\n" + ",\n".join(lines) + f',\n"cases": [\n{cases}\n]\n}}\n', encoding="utf-8")
    print(f"{FILE}: {CASES} cases")


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _numbers(rng: Random) -> list[tuple[float, str]]:
    """Numbers of all sizes, ties and the borders between notations among them, as reasons write them."""
    ties = [(rng.randrange(1000, 10000) + 0.5) * 2.0**power for power in (0, 0, 0, -1, -2, -3, 1, 2, 30)]
    border = [0.0, 0.00001, 0.0001, 0.00009999499, 0.000099995, 999.95, 9999.4, 9999.5, 9999.6, 10000.0, -1.5]
    wide = [rng.uniform(1, 10) * 10.0 ** rng.randrange(-8, 9) for _ in range(NUMBERS)]
    return [(value, short(value)) for value in (*ties, *border, *wide)]


def _case(number: int) -> dict[str, Any]:
    rng = Random(number)
    levels = _levels(rng)
    policy = POLICIES[number % len(POLICIES)](rng, levels)
    settings: dict[str, Any] = {"dwell_s": rng.choice((0.0, 5.0, 30.0))}
    if rng.random() < 0.3 and not isinstance(policy, BatteryBands):
        settings["dial"] = tuple(sorted(rng.sample(range(len(levels)), rng.randint(1, len(levels)))))
    governor = Governor(levels, policy, **settings)
    told = governor.to_json()
    if "dial" not in settings:
        del told["dial"]  # so that whoever reads it finds the levels that none beats
    case: dict[str, Any] = {"levels": [level.to_json() for level in levels], "governor": told, "steps": []}
    for signals in _trace(rng, levels):
        governor = governor.step(Signals(**signals))
        row = [signals.get(name) for name in SIGNALS]
        case["steps"].append([row, governor.level, governor.switched, governor.reason])
    return {**case, "end": governor.to_json()}


def _levels(rng: Random) -> tuple[Level, ...]:
    """One to six levels in order of time, of which some may be beaten by a cheaper one."""
    count = rng.randint(1, 6)
    times_ms = sorted(round(rng.uniform(0.2, 20), 3) for _ in range(count))
    metered, digits = rng.random() < 0.5, rng.choice((1, 3))
    leaving = Random(count).sample(range(count), count // 3)  # whose images leave at different exits
    return tuple(
        Level(
            model="network",
            exit=place,
            accuracy=round(rng.uniform(0.5, 0.7) + 0.04 * place, digits),
            macs=1000 * (place + 1),
            latency=Latency(p50_ms=time_ms, p95_ms=round(1.2 * time_ms, 4), spread=0.1, runs=20, target="t"),
            energy_mj=round(time_ms * rng.uniform(1, 3), 3) if metered else None,
            energy_source="measured" if metered else "",
            thresholds=(0.5,) if place in leaving else None,
        )
        for place, time_ms in enumerate(times_ms)
    )


def _trace(rng: Random, levels: tuple[Level, ...]) -> list[dict[str, Any]]:
    """A battery that drains, charges and jumps, heat that comes and goes, a clock that may begin anew."""
    charge, heat_c, time_s, slowdown = rng.uniform(0.3, 1), rng.uniform(55, 75), 0.0, 1.0
    charging, until_s, longest_s = (
        rng.random() < 0.4,
        rng.choice((200.0, 2000.0, 40000.0)),
        rng.choice((5, 40, 300)),
    )
    flapping, gain, trace = rng.choice((0.0, 0.05, 0.1, 0.4)), rng.choice((0.04, 0.0)), []
    missing = rng.choice((0.0, 0.12))
    for _ in range(STEPS):
        if rng.random() < flapping:
            charging = not charging
        charge = min(1.0, max(0.0, charge + (gain if charging else -0.03) + rng.uniform(-0.02, 0.02)))
        heat_c += rng.uniform(-4, 4)
        time_s = 0.0 if rng.random() < 0.03 else time_s + rng.choice((0.5, 3, 12, 40, longest_s))
        slowdown = rng.choice((slowdown, slowdown, slowdown, rng.uniform(0.5, 4), rng.choice((1, 1, 1e4))))
        values = {
            "battery_ratio": rng.choice((0.125, 0.5, charge, charge, charge, charge)),
            "charging": charging,
            "temperature_c": rng.choice((heat_c, heat_c, *HOT_C)),
            "time_s": time_s,
            "latency_ms": rng.choice(levels).latency.p50_ms * slowdown,  # type: ignore[union-attr]
            "requests_hz": rng.choice((0.0, 2.0, rng.uniform(0.5, 30))),
            "deadline_ms": rng.uniform(0.3, 30),
            "until_s": until_s,
            "pin": rng.randrange(len(levels)) if rng.random() < 0.4 else None,
        }
        trace.append({name: _rounded(value) for name, value in values.items() if rng.random() >= missing})
    return trace


def _rounded(value: float | bool | None) -> float | bool | None:
    return round(value, 4) if isinstance(value, float) else value


def _bands(rng: Random, levels: tuple[Level, ...]) -> Policy:
    return BatteryBands(hysteresis_ratio=rng.choice((0.0, 0.03, 0.5)))


def _charger(rng: Random, levels: tuple[Level, ...]) -> Policy:
    return Charger(unplugged_ratio=round(rng.random(), 2))


def _clamp(rng: Random, levels: tuple[Level, ...]) -> Policy:
    return ThermalClamp(hot_c=rng.choice(HOT_C), cool_c=60, pause_s=rng.choice((0.0, 5.0, 20.0)))


def _deadline(rng: Random, levels: tuple[Level, ...]) -> Policy:
    limit_ms = round(rng.uniform(1, 30), 3) if rng.random() < 0.4 else None
    return Deadline(deadline_ms=limit_ms, caution=rng.choice((0.0, 2.0)))


def _energy(rng: Random, levels: tuple[Level, ...]) -> Policy:
    capacity_mj = CAPACITY_MJ * rng.choice((0.1, 1, 10))
    return EnergyUntil(
        capacity_mj=capacity_mj,
        idle_w=rng.choice((0.0, 0.01)),
        power_w=2.0,
        charger_w=rng.choice((0.0, 0.01, 1.0)),
        usual_hz=rng.choice((None, 4.0)),
    )


def _joined(rng: Random, levels: tuple[Level, ...]) -> Policy:
    parts = rng.sample((_bands, _charger, _clamp, _deadline, _energy), rng.randint(1, 4))
    return Lowest([part(rng, levels) for part in parts])


def _pinned(rng: Random, levels: tuple[Level, ...]) -> Policy:
    return UserPin(rng.choice((_bands, _clamp, _deadline, _energy, _joined))(rng, levels))


def _nested(rng: Random, levels: tuple[Level, ...]) -> Policy:
    return Lowest([UserPin(_joined(rng, levels)), _clamp(rng, levels)])


POLICIES: tuple[Callable[[Random, tuple[Level, ...]], Policy], ...] = (
    _bands,
    _charger,
    _clamp,
    _deadline,
    _energy,
    _joined,
    _pinned,
    _nested,
)


if __name__ == "__main__":
    main()
