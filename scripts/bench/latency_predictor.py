"""The predictor on networks that its calibration has not seen, in every space."""

from __future__ import annotations

from random import Random
from statistics import mean
from time import monotonic, perf_counter

import numpy as np
from record import Record, Row

from nas import Cost, Graph, SearchSpace, load_space
from nas.latency import Calibration, LatencyTable, Target, calibrate, measure_exits

SPACES = ("lowrank", "mixed", "mobile", "msdnet", "shuffle", "squeeze", "tiny", "xception")
SHAPES = {"tiny": (1, 8, 8)}
FILE = "predicted.csv"


def load(name: str) -> SearchSpace:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace), "every space module names its space so"
    return space.at(SHAPES.get(name, (3, 32, 32)), 10)


def collect(record: Record, target: Target, *, seconds: float, networks: int) -> None:
    """One row per unseen network; a space that was begun but not finished is begun anew."""
    done = {row["space"] for row in record.rows("calibrations.csv")}
    for name in SPACES:
        if name not in done:
            _collect_space(record, name, target, seconds=seconds, networks=networks)


def _collect_space(record: Record, name: str, target: Target, *, seconds: float, networks: int) -> None:
    space, begin = load(name), monotonic()
    *_, found = calibrate(space, target, seconds=seconds)
    calibration = Calibration.of(space, target.identity, found)
    spent_s = monotonic() - begin
    seen = {network.architecture.id for network in found}
    graphs = _unseen(space, seen, networks)
    table = LatencyTable(target, seconds=0.015)
    predict_per_s = _per_s(calibration, _unseen(space, seen, 300, seed=2))
    for graph in graphs:
        measured = measure_exits(target, graph)[-1]
        record.add(
            FILE,
            {
                "space": name,
                "network": graph.id,
                "measured_ms": measured.p50_ms,
                "slowdown": measured.slowdown,
                "predicted_ms": calibration.predictor(graph),
                "interval_ratio": calibration.predictor.interval_ratio,
                "macs": Cost.of(graph).macs,
                "ms_per_macs": mean(
                    network.exits_ms[-1] / Cost.of(space.graph(network.architecture)).macs
                    for network in found
                ),
                "table_ms": table(graph),
            },
        )
    record.add(
        "calibrations.csv",
        {
            "space": name,
            "networks": len(found),
            "seconds": round(spent_s, 1),
            "lanes": calibration.predictor.lanes,
            "predict_per_s": round(predict_per_s),
        },
    )


def _unseen(space: SearchSpace, seen: set[str], networks: int, seed: int = 1) -> list[Graph]:
    rng, graphs = Random(seed), dict[str, Graph]()
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
    """Errors of the predictor, of MACs alone and of the table, by space."""
    return {name: _errors([row for row in rows if row["space"] == name]) for name in SPACES}


def _errors(rows: list[Row]) -> dict[str, float]:
    column = {
        key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key not in ("space", "network")
    }
    measured, predicted, ratio = column["measured_ms"], column["predicted_ms"], column["interval_ratio"]
    by_macs = column["macs"] * column["ms_per_macs"]
    return {
        "mape_pct": _mape(predicted, measured),
        "within10_pct": 100 * float((np.abs(predicted / measured - 1) <= 0.1).mean()),
        "spearman": _spearman(predicted, measured),
        "coverage_pct": 100 * float((np.abs(np.log(predicted / measured)) <= np.log(ratio)).mean()),
        "halfwidth_pct": 100 * float((ratio - 1).mean()),
        "macs_mape_pct": _mape(by_macs, measured),
        "macs_spearman": _spearman(by_macs, measured),
        "table_mape_pct": _mape(column["table_ms"], measured),
        "table_spearman": _spearman(column["table_ms"], measured),
    }


def _mape(predicted: np.ndarray, measured: np.ndarray) -> float:
    return 100 * float(np.abs(predicted / measured - 1).mean())


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)
