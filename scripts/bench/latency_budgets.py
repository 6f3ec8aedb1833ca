"""Whether certified budgets are kept when a network is measured again, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from random import Random
from statistics import mean

import numpy as np
from latency_predictor import load
from record import ROOT, Record, Row

from nas import SearchSpace
from nas.latency import Calibration, Target, calibrate, measure_exit
from nas.space import Architecture

FILE = "budgets.csv"
AGAIN = """
import json, sys
from nas import Architecture, load_space
from nas.latency import LocalTarget, measure_exit
from nas.latency.survey import measure_within
architecture = Architecture.from_json(json.load(sys.stdin))
graph, target = load_space(architecture.space).graph(architecture), LocalTarget()
print(measure_within(lambda: measure_exit(target, graph), float(sys.argv[1])).p50_ms)
"""
DRAWS = 4000


def collect(record: Record, target: Target, *, seconds: float, budgets: int) -> None:
    """One row per budget between the 10 % and the 60 % quantile of the space."""
    done = len(record.rows(FILE))
    if done >= budgets:
        return
    space = load("mixed")
    *_, found = calibrate(space, target, seconds=seconds)
    calibration = Calibration.of(space, target.identity, found)
    quantiles = np.quantile([network.last_ms for network in found], np.linspace(0.1, 0.6, budgets))
    for number in range(done, budgets):
        record.add(FILE, _certified(space, target, calibration, float(quantiles[number]), Random(number)))


def _certified(
    space: SearchSpace, target: Target, calibration: Calibration, bound_ms: float, rng: Random
) -> dict[str, object]:
    """A random network near the budget whose upper bound keeps it, and what it takes when measured again."""
    measured = 0
    for _ in range(DRAWS):
        architecture = space.sample(rng)
        graph = space.graph(architecture)
        if not 0.85 * bound_ms <= calibration.predictor(graph) <= 1.02 * bound_ms:
            continue
        measured += 1
        latency = measure_exit(target, graph)
        if latency.upper_ms <= bound_ms:
            again_ms = _again_ms(architecture, bound_ms)
            return {
                "budget_ms": bound_ms,
                "network": architecture.id,
                "measured": measured,
                "certified_ms": latency.p50_ms,
                "upper_ms": latency.upper_ms,
                "again_ms": again_ms,
            }
    return {
        "budget_ms": bound_ms,
        "network": "",
        "measured": measured,
        "certified_ms": "",
        "upper_ms": "",
        "again_ms": "",
    }


def _again_ms(architecture: Architecture, bound_ms: float) -> float:
    """As `nas verify` measures it."""
    text = json.dumps(architecture.to_json())
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, str(bound_ms)],
        input=text,
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(done.stdout)


def figures(rows: list[Row]) -> dict[str, float]:
    """Shares in percent: of budgets certified, of those kept in the new process, and of a budget used."""
    certified = [row for row in rows if row["network"]]
    kept = [float(row["again_ms"]) <= float(row["budget_ms"]) for row in certified]
    return {
        "budgets_certified_pct": 100 * len(certified) / len(rows),
        "budgets_kept_pct": 100 * mean(kept),
        "budget_used_pct": 100
        * mean(float(row["certified_ms"]) / float(row["budget_ms"]) for row in certified),
    }
