"""From one known device to another of which few networks were measured: a published table of real devices."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import mean
from typing import TYPE_CHECKING

import fbnet
import numpy as np
from record import Record, Row

from nas import Cost, Graph
from nas.latency.prediction import Sample
from nas.latency.predictor import LayerPredictor, fit_predictor
from nas.latency.transfer import transfer_predictor

if TYPE_CHECKING:
    from pandas import DataFrame

FILE = "transferred.csv"
TABLE = "fbnet_latency_27devices.parquet"
DEVICES = ("pixel3", "raspi4", "gold_6226", "samsung_s7", "1080ti_1", "fpga", "eyeriss", "titan_rtx_32")
COUNTS = (10, 50)
KNOWN, UNSEEN, DRAWS = 300, 1000, 3


def collect(record: Record, *, devices: int) -> None:
    """One row per known device, target and count of measured networks; a known device is there wholly."""
    path = Path(os.environ.get("NAS_TABLES", ""), TABLE)
    if not path.exists():
        print(f"no transfer: set NAS_TABLES to the folder of {TABLE}", file=sys.stderr)
        return
    done, chosen = {row["known"] for row in record.rows(FILE)}, DEVICES[:devices]
    if done >= set(chosen):
        return
    table, graphs = _read(path)
    for name in chosen:
        if name not in done:
            known = fit_predictor(_samples(table, graphs, name, range(KNOWN)), name)
            for row in list(_pairs(table, graphs, known, chosen)):
                record.add(FILE, row)


def _read(path: Path) -> tuple[DataFrame, list[Graph]]:
    """The rows that are used, shuffled, and their networks."""
    from pandas import read_parquet

    table = read_parquet(path)
    wanted = KNOWN + DRAWS * max(COUNTS) + UNSEEN
    table = table.iloc[Random(0).sample(range(len(table)), wanted)].reset_index(drop=True)
    columns = [f"op{number:02}" for number in range(22)]
    graphs = []
    for ops, params in zip(table[columns].to_numpy(int), table["params"], strict=True):
        choices = {column: fbnet.OPS[op] for column, op in zip(columns, ops, strict=True)}
        graph = fbnet.space.graph(fbnet.space.architecture(choices))
        assert Cost.of(graph).params == params, f"{choices} has other parameters in the table"
        graphs.append(graph)
    return table, graphs


def _samples(table: DataFrame, graphs: list[Graph], device: str, rows: Sequence[int]) -> list[Sample]:
    column = table[f"lat_ms_{device}"]
    return [Sample(graphs[row], {0: float(column[row])}) for row in rows]


def _pairs(
    table: DataFrame, graphs: list[Graph], known: LayerPredictor, devices: Sequence[str]
) -> Iterator[dict[str, object]]:
    unseen = range(len(graphs) - UNSEEN, len(graphs))
    macs = [Cost.of(graphs[row]).macs for row in unseen]
    by_known = [known(graphs[row]) for row in unseen]
    for target in devices:
        true_ms = table[f"lat_ms_{target}"].to_numpy(float)[list(unseen)]
        for count in COUNTS if target != known.target else ():
            errors, ranks = [], []
            for draw in range(DRAWS):
                first = KNOWN + draw * max(COUNTS)
                samples = _samples(table, graphs, target, range(first, first + count))
                predictor = transfer_predictor(known, graphs[:KNOWN], samples, target)
                predicted_ms = np.array([predictor(graphs[row]) for row in unseen])
                errors.append(float(np.abs(predicted_ms / true_ms - 1).mean()))
                ranks.append(_spearman(predicted_ms, true_ms))
            yield {
                "known": known.target,
                "target": target,
                "networks": count,
                "spearman": round(mean(ranks), 4),
                "error_pct": round(100 * mean(errors), 2),
                "known_spearman": round(_spearman(by_known, true_ms), 4),
                "macs_spearman": round(_spearman(macs, true_ms), 4),
            }


def _spearman(first: Sequence[float] | np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def figures(rows: list[Row]) -> dict[str, float]:
    """Means over all pairs, by the number of measured networks; none where there is no table."""
    found: dict[str, float] = {}
    for count in COUNTS:
        own = [row for row in rows if int(row["networks"]) == count]
        if own:
            found[f"transfer{count}_spearman"] = mean(float(row["spearman"]) for row in own)
            found[f"transfer{count}_error_pct"] = mean(float(row["error_pct"]) for row in own)
    return found


def markdown(rows: list[Row]) -> str:
    """Every pair: rank and error in percent, for each number of measured networks."""
    cells = {(row["known"], row["target"], int(row["networks"])): row for row in rows}
    names = list(dict.fromkeys(row["known"] for row in rows))
    parts = []
    for count in COUNTS if names else ():
        parts.append(f"\n{count} networks of the target (column), known device (row): rank, error in %\n")
        parts.append(f"| known | {' | '.join(names)} |")
        parts.append(f"| --- | {' | '.join('--:' for _ in names)} |")
        for known in names:
            texts = [_cell(cells.get((known, target, count))) for target in names]
            parts.append(f"| {known} | {' | '.join(texts)} |")
        macs = [next(row["macs_spearman"] for row in rows if row["target"] == target) for target in names]
        parts.append(f"| MACs alone | {' | '.join(f'{float(rank):.3f}' for rank in macs)} |")
    return "\n".join(parts)


def _cell(row: Row | None) -> str:
    return f"{float(row['spearman']):.3f}, {float(row['error_pct']):.1f}" if row else ""
