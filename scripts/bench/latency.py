"""Milliseconds measured twice, predicted for networks never seen, and budgets kept."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import mean, median
from time import perf_counter

import latency_budgets
import latency_predictor
import latency_remote
import latency_repeat
import latency_targets
import latency_transfer
import torch
from matplotlib.figure import Figure
from record import Record, Row

from nas.latency import LocalTarget
from nas.onnx import onnx_model, random_weights, shipped_segments

ONE_MB = 10**6


def onnx_ms(networks: int) -> float:
    """Median milliseconds to write all segments of a network of at most 1 MB."""
    space, rng, times_ms = latency_predictor.load("mixed"), Random(3), list[float]()
    while len(times_ms) < networks:
        graph = space.graph(space.sample(rng))
        weights = random_weights(graph)
        start = perf_counter()
        models = [onnx_model(graph, weights, segment) for segment in shipped_segments(graph)]
        spent_ms = 1e3 * (perf_counter() - start)
        if sum(map(len, models)) <= ONE_MB:
            times_ms.append(spent_ms)
    return median(times_ms)


def plot(rows: list[Row], path: Path) -> None:
    """Predicted against measured milliseconds, one color per space."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(row["space"] for row in rows):
        own = [row for row in rows if row["space"] == name]
        points = [[float(row[key]) for row in own] for key in ("measured_ms", "predicted_ms")]
        axes.loglog(*points, "o", markersize=3, label=name)
    axes.axline((0.02, 0.02), (5, 5), color="gray", linewidth=0.8, zorder=0)
    axes.set_xlabel("measured, ms")
    axes.set_ylabel("predicted, ms")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def predictor_figures(rows: list[Row]) -> dict[str, float]:
    """The worst space of each error, and coverage of all networks together."""
    spaces = latency_predictor.figures(rows)
    count = {name: sum(row["space"] == name for row in rows) for name in spaces}
    total = sum(count.values())
    return {
        "predictor_mape_pct": max(found["mape_pct"] for found in spaces.values()),
        "predictor_within10_pct": min(found["within10_pct"] for found in spaces.values()),
        "predictor_spearman": min(found["spearman"] for found in spaces.values()),
        "coverage_pct": sum(found["coverage_pct"] * count[name] for name, found in spaces.items()) / total,
        "unknown_networks": sum(row["predicted_ms"] == "inf" for row in rows),
        "coverage_worst_pct": min(found["coverage_pct"] for found in spaces.values()),
        "interval_halfwidth_pct": mean(found["halfwidth_pct"] for found in spaces.values()),
    }


def space_rows(rows: list[Row]) -> str:
    """The errors by space as a Markdown table."""
    lines = [
        "| space | repeated % | error % | within 10 % | rank | covered % | half-width % "
        "| MACs: error %, rank | table: error %, rank |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, found in latency_predictor.figures(rows).items():
        cells = (
            f"{found['repeat_pct']:.1f} | {found['mape_pct']:.1f} | {found['within10_pct']:.0f} | "
            f"{found['spearman']:.3f} | "
            f"{found['coverage_pct']:.0f} | {found['halfwidth_pct']:.1f} | "
            f"{found['macs_mape_pct']:.0f}, {found['macs_spearman']:.3f} | "
            f"{found['table_mape_pct']:.0f}, {found['table_spearman']:.3f}"
        )
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    record = Record("latency", __doc__ or "")
    torch.set_num_threads(1)
    target = LocalTarget()
    quick = record.quick
    latency_repeat.collect(record, target, networks=8 if quick else 60, seconds=1.0 if quick else 2.0)
    latency_predictor.collect(
        record, target, seconds=5 if quick else 85, networks=3 if quick else 100, runs=1 if quick else 3
    )
    latency_budgets.collect(record, target, seconds=6 if quick else 85, budgets=2 if quick else 30)
    latency_targets.collect(record, target, networks=2 if quick else 12, seconds=0.3 if quick else 1.0)
    latency_transfer.collect(record, devices=2 if quick else 8)
    latency_remote.collect(record, seconds=10 if quick else 60, trials=2 if quick else 20)
    repeated, transferred = record.rows(latency_repeat.FILE), record.rows(latency_transfer.FILE)
    calibrations, predicted = latency_predictor.quietest(record)
    plot(predicted, record.raw / "predicted.png")
    quiet, loaded = (latency_repeat.figures(repeated, condition) for condition in ("quiet", "loaded"))
    headline = {
        "repeat_quiet_pct": quiet[0],
        "repeat_loaded_pct": loaded[0],
        "consecutive_quiet_pct": quiet[1],
        "consecutive_loaded_pct": loaded[1],
        **predictor_figures(predicted),
        "calibrate_s": next(float(row["seconds"]) for row in calibrations if row["space"] == "mobile"),
        "onnx_ms": onnx_ms(20 if quick else 100),
        "predict_per_s": min(int(row["predict_per_s"]) for row in calibrations),
        **latency_budgets.figures(record.rows(latency_budgets.FILE)),
        **latency_targets.figures(record.rows(latency_targets.MEASURED)),
        **latency_transfer.figures(transferred),
    }
    rounded = {name: round(value, 3) for name, value in headline.items()}
    others = [record.rows(file) for file in (latency_targets.MEASURED, latency_targets.FAULTS)]
    tables = (
        f"{space_rows(predicted)}\n{latency_targets.markdown(*others)}\n"
        f"{latency_transfer.markdown(transferred)}"
    )
    record.finish(rounded, f"{NOTES}\n{tables}\n\n![Predicted and measured](predicted.png)\n")


NOTES = """
`repeated.csv`: 60 random networks of `mixed` measured twice, at most 2 s each, on a machine that does nothing
else that we know of (`quiet`) and beside a process that multiplies matrices (`loaded`); `consecutive` is the
median of calls one after another, the usual way. `predicted.csv`: 100 networks of each space that its
calibration has not seen, each visited six times for 0.15 s, of which the second fastest visit counts
(`repeated` is how that of the odd visits differs from that of the even ones); `calibrations.csv`: what each
took. Other programs on the machine's chip, which nobody here sees, slow it for minutes or hours: before a
space the run waits until eight of its networks repeat within 1.5 % (five minutes at most in all), and a space
whose networks repeat worse than within 2 % is run again, up to three times in all while the run is younger
than 40 minutes; the run that repeats best counts. All runs are in the files.

`budgets.csv`: 30 budgets between the 10 % and the 60 % quantile of `mixed`, a random network for each whose
measured upper bound keeps it, and what it takes when measured again in a new process, up to three times as
`nas verify` does. `remote.json`: a whole
job against an agent in a network namespace (as root, where `ip` is installed), with rejections by cause and
the targets of its certificates.

`targets.csv`: 12 networks of `mixed` on this machine, over an agent in another process, and in headless
Chromium. `agent_faults.csv`: what is done to the agent, and what its client is told.

`transferred.csv`: networks of the FBNet space on devices of the table that HW-NAS-Bench and HELP published
(https://arxiv.org/abs/2103.10584, https://arxiv.org/abs/2106.08630): a predictor of one device, learned from
300 networks, and 10 or 50 of another predict 1,000 others; means of three draws.

Predictor figures are those of the worst space; networks with a kind of layer that its calibration never met
are told as unknown and left out. The table is that of layers measured alone, for the first 20 networks of
each space.
"""

if __name__ == "__main__":
    main()
