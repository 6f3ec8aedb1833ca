"""One policy through five days that it was tuned on and a sixth that it was not, beside fixed levels."""

from __future__ import annotations

from pathlib import Path
from random import Random

import matplotlib.pyplot as plt
import runtime_traces
from record import Record, Row

from nas.bundle import Level, undominated
from nas.runtime import Deadline, EnergyUntil, Governor, Lowest, Policy, Signals, ThermalClamp
from nas.simulation import Device, Replay, Trace, best_replay, replay_governor, replay_level

__all__ = ["FILE", "collect", "figures", "governor_of", "markdown", "plot"]

FILE, RANDOM = "governor.csv", "random_signals.csv"
TRACES = Path(__file__).parents[2] / "results" / "runtime" / "traces"
DWELL_S = 2.0
USUAL_HZ = {"heat": 200.0, runtime_traces.UNSEEN: 60.0}  # what an application knows of itself; 20 elsewhere


def collect(record: Record, *, names: tuple[str, ...], sequences: int) -> None:
    """A row for each day and system; a day whose optimum is known is not solved again."""
    done = {row["trace"] for row in record.rows(FILE)}
    levels = runtime_traces.load_levels(TRACES)
    for name in names:
        if name not in done:
            for row in _rows(name, levels):
                record.add(FILE, row)
    if not record.rows(RANDOM):
        record.add(RANDOM, {"sequences": sequences, "illegal": _illegal(levels, sequences)})


def governor_of(name: str, device: Device, trace: Trace, levels: tuple[Level, ...]) -> Governor:
    """The same policies for all days, as far as the device has a battery and gets hot."""
    policies: list[Policy] = [Deadline()]
    if device.capacity_mj is not None:
        policies.append(
            EnergyUntil(
                capacity_mj=device.capacity_mj,
                idle_w=device.idle_w,
                power_w=device.power_w,
                charger_w=max(moment.charger_w for moment in trace),
                usual_hz=USUAL_HZ.get(name, 20.0),
            )
        )
    if device.heating_c_per_j:
        hot_c = device.throttle_c - 1
        policies.append(ThermalClamp(hot_c=hot_c, cool_c=hot_c - 0.5, pause_s=DWELL_S))
    return Governor(levels, Lowest(policies), dwell_s=DWELL_S)


def figures(rows: list[Row]) -> dict[str, object]:
    governed = {row["trace"]: row for row in rows if row["system"] == "governor"}
    tuned = [governed[name] for name in runtime_traces.TUNED if name in governed]
    fixed = [row for row in rows if row["system"] in ("lowest", "highest")]
    unseen = governed.get(runtime_traces.UNSEEN)
    return {
        "governor_regret_pct": round(max(float(row["regret_pct"]) for row in tuned), 1),
        "deadline_miss_pct": round(max(float(row["missed_pct"]) for row in governed.values()), 3),
        "governor_unseen_regret_pct": None if unseen is None else round(float(unseen["regret_pct"]), 1),
        "fixed_least_regret_pct": round(min(float(row["regret_pct"]) for row in fixed)),
    }


def markdown(rows: list[Row]) -> str:
    lines = [
        "| day | system | accuracy | regret | unanswered | late | switches | allowed |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in rows:
        percents = (f"{float(row[name]):.{digits}f} %" for name, digits in _PERCENTS.items())
        allowed = row["allowed"] if row["system"] == "governor" else ""
        lines.append(
            f"| {row['trace']} | {row['system']} | {100 * float(row['accuracy']):.2f} % | "
            f"{' | '.join(percents)} | {row['switches']} | {allowed} |"
        )
    return "\n".join(lines)


_PERCENTS = {"regret_pct": 1, "unanswered_pct": 2, "missed_pct": 3}


def _rows(name: str, levels: tuple[Level, ...]) -> list[dict[str, object]]:
    device, trace = runtime_traces.load(TRACES, name)
    dial = undominated(levels)
    optimum = best_replay(device, trace, [levels[number] for number in dial])
    constants = [replay_level(device, trace, levels, number) for number in range(len(levels))]
    best = max(constants, key=lambda replay: replay.accuracy)
    replays = {
        "optimum": optimum,
        "governor": replay_governor(device, trace, governor_of(name, device, trace, levels)),
        "best constant": best,
        "lowest": constants[0],
        "highest": constants[-1],
    }
    span = optimum.accuracy - best.accuracy
    allowed = int((trace.moments[-1].time_s - trace.moments[0].time_s) / DWELL_S) + 1
    return [
        {
            "trace": name,
            "system": system,
            "accuracy": replay.accuracy,
            "regret_pct": 100 * (optimum.accuracy - replay.accuracy) / span,
            "unanswered_pct": 100 * replay.unanswered_ratio,
            "missed_pct": 100 * replay.missed_ratio,
            "switches": replay.switches,
            "allowed": allowed,
        }
        for system, replay in replays.items()
    ]


def _illegal(levels: tuple[Level, ...], sequences: int) -> int:
    """How many of so many random sequences of signals end in an exception or a level that is not there."""
    rng, found = Random(0), 0
    policy = Lowest([Deadline(), EnergyUntil(capacity_mj=1000, power_w=1), ThermalClamp()])
    for _ in range(sequences):
        governor = Governor(levels, policy, dwell_s=rng.choice([0, 2, 30]))
        try:
            for _ in range(8):
                governor = governor.step(_signals(rng))
                found += not 0 <= governor.level < len(levels)
        except Exception:
            found += 1
    return found


def _signals(rng: Random) -> Signals:
    """Anything that a device may tell, and nothing of it for certain."""

    def maybe(value: float) -> float | None:
        return value if rng.random() < 0.7 else None

    return Signals(
        battery_ratio=maybe(rng.random()),
        charging=rng.choice([True, False, None]),
        temperature_c=maybe(rng.uniform(-40, 130)),
        load=maybe(rng.uniform(0, 50)),
        time_s=maybe(rng.uniform(0, 10 ** rng.uniform(0, 9))),
        latency_ms=maybe(10 ** rng.uniform(-6, 9)),
        requests_hz=maybe(rng.choice([0, 10 ** rng.uniform(-3, 9)])),
        deadline_ms=maybe(10 ** rng.uniform(-6, 6)),
        until_s=maybe(rng.uniform(0, 10 ** rng.uniform(0, 9))),
        pin=rng.choice([None, None, rng.randrange(100)]),
    )


def plot(record: Record, name: str) -> None:
    """Levels, battery and heat of a day under the governor."""
    levels = runtime_traces.load_levels(TRACES)
    device, trace = runtime_traces.load(TRACES, name)
    replay: Replay = replay_governor(device, trace, governor_of(name, device, trace, levels))
    times = [step.moment.time_s for step in replay.steps]
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 4.2), sharex=True, height_ratios=(3, 2))
    above.step(times, [step.level for step in replay.steps], where="post", color="#205072", linewidth=0.8)
    above.set_ylabel("level")
    above.set_yticks(range(len(levels)))
    if device.capacity_mj is not None:
        charges = [100 * (device.battery_ratio(step.state) or 0) for step in replay.steps]
        below.plot(times, charges, color="#329d9c", label="battery, %")
    if device.most_heat:
        degrees = [device.temperature_c(step.state) for step in replay.steps]
        below.plot(times, degrees, color="#c8553d", label="chip, °C")
        below.axhline(device.throttle_c, color="#c8553d", linewidth=0.6, linestyle=":")
    if device.capacity_mj is None and not device.most_heat:
        below.plot(times, [step.moment.slowdown for step in replay.steps], color="#c8553d", label="slow-down")
    below.legend(frameon=False, loc="best")
    below.set_xlabel("seconds")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(record.raw / f"governor_{name}.png", dpi=110)
    plt.close(figure)
