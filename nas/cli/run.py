"""Run a bundle while a battery drains.

At each step the governor chooses the level, which answers a burst of images, one at a time. A trace is a
CSV file with time_s and battery_ratio (or battery_percent). Each switch is told with its reason, what the
level promises, and the median of the milliseconds measured until the next one.

Example:
  nas run runs/d/bundle --battery trace.csv
  nas run runs/d/bundle --synthetic --data digits
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Bundle, undominated
from nas.cli.arguments import add_json, positive
from nas.cli.output import write_json, write_table
from nas.data import load_data
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.runtime import Governor, RecordedTrace, Runtime, Signals

__all__ = ["add_arguments", "execute"]

Step = tuple["Governor", "Signals"]

CAPACITY_MJ = 3.6e6  # an hour at 1 W
STEP_S = 36.0  # a hundredth of that, and longer than a governor waits between switches
MOST_STEPS = 1000
RANDOM_IMAGES = 64
BURST = 32  # images a step, as a camera's next second; the first ones find cold caches
BEST = "best"

COLUMNS = {
    "model": "model",
    "exit": "exit",
    "accuracy": "accuracy",
    "MACs": "macs",
    "ms": "latency_ms",
    "measured ms": "measured_ms",
    "steps": "steps",
    "reason": "reason",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or zip that nas export wrote")
    battery = parser.add_mutually_exclusive_group(required=True)
    battery.add_argument("--battery", type=Path, metavar="CSV", help="a recorded trace to replay")
    battery.add_argument(
        "--synthetic", action="store_true", help="a battery of an hour at 1 W, from full to empty"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="levels of this model only, or of the one that is best at its last level (default: all "
        "that are not beaten)",
    )
    parser.add_argument("--data", help="take the images from the test part of data (default random bytes)")
    parser.add_argument("--threads", type=positive, default=1, help="to run with (default 1)")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.runtime import Governor, RecordedTrace, Runtime

    runtime = Runtime.load(arguments.bundle, arguments.threads)
    dial = _dial(runtime.bundle, arguments.model)
    asked = Governor.of(runtime.bundle)
    governor = asked if arguments.model is None else Governor(runtime.levels, asked.policy, dial=dial)
    if arguments.synthetic:
        steps = _drain(governor)
    else:
        steps = _replay(governor, RecordedTrace.load(arguments.battery))
    images = _images(arguments.data, runtime)
    for level in dial:
        runtime.run(images[0], level)  # so that all are loaded, and no first call is timed
    switches = _follow(runtime, steps, images)
    if arguments.json:
        write_json({"bundle": str(arguments.bundle), "switches": switches})
    else:
        write_table(_switch_table(switches))


def _dial(bundle: Bundle, model: str | None) -> tuple[int, ...]:
    """The levels to choose from: those that none beats, or all of one model."""
    if model is None:
        return undominated(bundle.levels)
    if model == BEST:
        accuracies: dict[str, list[float]] = {}
        for level in bundle.levels:
            accuracies.setdefault(level.model, []).append(level.accuracy)
        model = max(accuracies, key=lambda name: (accuracies[name][-1], len(accuracies[name])))
    name = bundle.model(model).name
    return tuple(number for number, level in enumerate(bundle.levels) if level.model == name)


def _replay(governor: Governor, trace: RecordedTrace) -> Iterator[Step]:
    for signals in trace:
        governor = governor.step(signals)
        yield governor, signals


def _drain(governor: Governor) -> Iterator[Step]:
    """The battery drained by the levels that are chosen, each run for a while; ten hours at most."""
    from nas.runtime import SyntheticBattery

    battery = SyntheticBattery(capacity_mj=CAPACITY_MJ)
    for _ in range(MOST_STEPS):
        signals = battery.read()
        governor = governor.step(signals)
        yield governor, signals
        level = governor.levels[governor.level]
        runs = round(STEP_S * 1000 / level.latency.p50_ms) if level.latency else 1
        battery = battery.use(level, runs)
        if not battery.read().battery_ratio:
            return


def _images(spec: str | None, runtime: Runtime) -> NDArray[np.uint8]:
    if spec:
        return load_data(spec).x_test
    shape = (RANDOM_IMAGES, *runtime.bundle.input_shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _follow(runtime: Runtime, steps: Iterable[Step], images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Answer a burst of images at each step, and tell of the first step and of each switch."""
    switches: list[dict[str, Any]] = []
    times_ms: list[list[float]] = []
    level_before = None
    endless = cycle(images)
    for governor, signals in steps:
        if governor.switched or not switches:
            switches.append(_switch(governor, signals, level_before))
            times_ms.append([])
        level_before = governor.level
        switches[-1]["steps"] += 1
        for image in islice(endless, BURST):
            start_s = time.perf_counter()
            runtime.run(image, governor.level)
            times_ms[-1].append(1000 * (time.perf_counter() - start_s))
    for switch, measured_ms in zip(switches, times_ms, strict=True):
        switch["measured_ms"] = median(measured_ms)
    return switches


def _switch(governor: Governor, signals: Signals, level_before: int | None) -> dict[str, Any]:
    level = governor.levels[governor.level]
    return {
        "time_s": signals.time_s,
        "battery_ratio": signals.battery_ratio,
        "from": level_before,
        "to": governor.level,
        "model": level.model,
        "exit": level.exit,
        "accuracy": level.accuracy,
        "macs": level.macs,
        "latency_ms": level.latency.p50_ms if level.latency else None,
        "reason": governor.reason,
        "steps": 0,
    }


def _switch_table(switches: list[dict[str, Any]]) -> Table:
    rows = []
    for switch in switches:
        charge, before, level = switch["battery_ratio"], switch["from"], switch["to"]
        rows.append(
            (
                f"{switch['time_s']:.0f}",
                None if charge is None else f"{100 * charge:.0f}",
                f"{level}" if before is None else f"{before} -> {level}",
                *(switch[key] for key in COLUMNS.values()),
            )
        )
    return Table.of(("time s", "battery %", "level", *COLUMNS), rows)
