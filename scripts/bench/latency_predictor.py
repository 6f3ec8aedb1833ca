"""The predictor on networks that its calibration has not seen, in every space."""

from __future__ import annotations

from random import Random
from statistics import mean
from time import monotonic, perf_counter, sleep

import numpy as np
from numpy.typing import NDArray
from record import Record, Row

from nas import Cost, Graph, SearchSpace, load_space
from nas.bundle import Latency
from nas.latency import Calibration, LatencyTable, Target, calibrate, measure_exit
from nas.latency.survey import Visits

SPACES = ("lowrank", "mixed", "mobile", "msdnet", "shuffle", "squeeze", "tiny", "xception")
SHAPES = {"tiny": (1, 8, 8)}
FILE = "predicted.csv"
CALIBRATIONS = "calibrations.csv"
VISITS, VISIT_S = 6, 0.15  # to networks not seen
REPEATS = ("odd_visits_ms", "even_visits_ms")
REPEATED_PCT = 2.0  # beyond which a space is run again
QUIET_NETWORKS, QUIET_PCT, QUIET_PAUSE_S = 8, 1.5, 10  # a quiet machine, and how often it is asked for
PATIENCE_S = 300  # that a whole run waits for it, at most
RERUN_S = 2400  # no space is run again once this long was spent
PARTS = ((0, 2), (1, 2), (0, 1))  # the odd visits, the even ones, all
TABLE_NETWORKS = 20  # for which layers are measured alone too, which takes long


def load(name: str) -> SearchSpace:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace), "every space module names its space so"
    return space.at(SHAPES.get(name, (3, 32, 32)), 10)


def collect(record: Record, target: Target, *, seconds: float, networks: int, runs: int) -> None:
    """One row per unseen network and run; ten times as many are predicted one after another.

    A space whose unseen networks did not repeat met a disturbed phase of the machine: it is run again, a
    few times at most, calibration and all. Which run counts is decided by that alone, see `quietest`.
    """
    patience_s, end = PATIENCE_S if runs > 1 else 0.0, monotonic() + RERUN_S
    for run in range(runs):
        for name in SPACES:
            if run and monotonic() > end:
                return
            own = [row for row in record.rows(CALIBRATIONS) if row["space"] == name]
            if len(own) == run and all(float(row["repeat_pct"]) > REPEATED_PCT for row in own):
                patience_s = _await_quiet(target, name, patience_s)
                _run(record, target, name, run, seconds=seconds, networks=networks)


def _await_quiet(target: Target, name: str, patience_s: float) -> float:
    """Wait until networks of a space repeat as where nobody else slows them; how long is left to wait."""
    graphs, end = _unseen(load(name), set(), QUIET_NETWORKS), monotonic() + patience_s
    while monotonic() < end:
        visits = _visited(target, graphs)
        odd, even = (np.array([_counted_ms(each[start::2]) for each in visits]) for start in (0, 1))
        if _mape(odd, even) <= QUIET_PCT:
            break
        sleep(QUIET_PAUSE_S)
    return max(0.0, end - monotonic())


def _run(record: Record, target: Target, name: str, run: int, *, seconds: float, networks: int) -> None:
    space, begin = load(name), monotonic()
    *_, found = calibrate(space, target, seconds=seconds)
    calibration = Calibration.of(space, target.identity, found)
    spent_s = monotonic() - begin
    unseen = _unseen(space, {network.architecture.id for network in found}, 11 * networks)
    per_s = _per_s(calibration, unseen[networks:])
    rows = _rows(space, calibration, target, unseen[:networks])
    for row in rows:
        record.add(FILE, {"space": name, "run": run, **row})
    row = {
        "space": name,
        "run": run,
        "repeat_pct": round(_mape(*(np.array([row[key] for row in rows]) for key in REPEATS)), 3),
        "networks": len(found),
        "seconds": round(spent_s, 1),
        "lanes": calibration.predictor.to_json()["lanes"],
        "predict_per_s": round(per_s),
    }
    record.add(CALIBRATIONS, row)


def quietest(record: Record) -> tuple[list[Row], list[Row]]:
    """Calibrations and rows of the run of each space whose measurements repeated best."""
    best: dict[str, Row] = {}
    for row in record.rows(CALIBRATIONS):
        known = best.setdefault(row["space"], row)
        best[row["space"]] = min(known, row, key=lambda row: float(row["repeat_pct"]))
    chosen = {(row["space"], row["run"]) for row in best.values()}
    return list(best.values()), [row for row in record.rows(FILE) if (row["space"], row["run"]) in chosen]


def _rows(
    space: SearchSpace, calibration: Calibration, target: Target, graphs: list[Graph]
) -> list[dict[str, float | str]]:
    table, visits = LatencyTable(target, seconds=0.015), _visited(target, graphs)
    ms_per_macs = mean(
        network.last_ms / Cost.of(space.graph(network.architecture)).macs for network in calibration.measured
    )
    rows: list[dict[str, float | str]] = []
    for number, graph in enumerate(graphs):
        odd, even, all_ms = (_counted_ms(visits[number][start::step]) for start, step in PARTS)
        rows.append(
            {
                "network": graph.id,
                "measured_ms": all_ms,
                "odd_visits_ms": odd,
                "even_visits_ms": even,
                "predicted_ms": calibration.predictor(graph),
                "interval_ratio": calibration.predictor.intervals.last_ratio,
                "by_macs_ms": Cost.of(graph).macs * ms_per_macs,
                "table_ms": table(graph) if number < TABLE_NETWORKS else "",
            }
        )
    return rows


def _visited(target: Target, graphs: list[Graph]) -> list[list[Latency]]:
    """Each network in each visit; every visit is made to all of them before the next."""
    rng, found = Random(2), [list[Latency]() for _ in graphs]
    for _ in range(VISITS):
        for number in rng.sample(range(len(graphs)), len(graphs)):
            found[number].append(measure_exit(target, graphs[number], seconds=VISIT_S))
    return found


def _counted_ms(found: list[Latency]) -> float:
    visits = Visits()
    for latency in found:
        visits.add({0: latency})
    return visits.exits_ms[0]


def _unseen(space: SearchSpace, seen: set[str], networks: int) -> list[Graph]:
    rng, graphs = Random(1), dict[str, Graph]()
    while len(graphs) < networks:
        architecture = space.sample(rng)
        if architecture.id not in seen:
            graphs[architecture.id] = space.graph(architecture)
    return list(graphs.values())


def _per_s(calibration: Calibration, graphs: list[Graph]) -> float:
    start = perf_counter()
    for graph in graphs:
        calibration.predictor(graph)
    return len(graphs) / (perf_counter() - start)


def figures(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Errors of the predictor, of MACs alone and of the table, by space.

    Networks with a kind of layer that was never measured are left out: the predictor says that it does not
    know them.
    """
    spaces = dict.fromkeys(row["space"] for row in rows)
    return {
        name: _errors([row for row in rows if row["space"] == name and row["predicted_ms"] != "inf"])
        for name in spaces
    }


def _errors(rows: list[Row]) -> dict[str, float]:
    measured, predicted, ratio, by_macs = (
        np.array([float(row[key]) for row in rows])
        for key in ("measured_ms", "predicted_ms", "interval_ratio", "by_macs_ms")
    )
    tabled = [row for row in rows if row["table_ms"]]
    table, alone = (np.array([float(row[key]) for row in tabled]) for key in ("measured_ms", "table_ms"))
    first, second = (np.array([float(row[key]) for row in rows]) for key in REPEATS)
    return {
        "repeat_pct": _mape(first, second),
        "mape_pct": _mape(predicted, measured),
        "within10_pct": 100 * float((np.abs(predicted / measured - 1) <= 0.1).mean()),
        "spearman": _spearman(predicted, measured),
        "coverage_pct": 100 * float((np.abs(np.log(predicted / measured)) <= np.log(ratio)).mean()),
        "halfwidth_pct": 100 * float((ratio - 1).mean()),
        "macs_mape_pct": _mape(by_macs, measured),
        "macs_spearman": _spearman(by_macs, measured),
        "table_mape_pct": _mape(alone, table),
        "table_spearman": _spearman(alone, table),
    }


def _mape(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    return 100 * float(np.abs(predicted / measured - 1).mean())


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
