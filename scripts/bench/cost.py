"""Counts of every search space against fvcore, thop and torch, and how many networks a second are counted."""

from __future__ import annotations

import copy
import importlib
import time
import warnings
from pathlib import Path
from random import Random
from statistics import median

import thop
import torch
from fvcore.nn import FlopCountAnalysis
from matplotlib.figure import Figure
from record import Record

from nas import Architecture, Cost, Graph, SearchSpace, load_space
from nas.cost import total_ops
from nas.model import Model

SPACES = ("lowrank", "mixed", "mobile", "msdnet", "shuffle", "squeeze", "tiny", "xception")
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 35, 61))
SPEED_SHAPE = (3, 32, 32)


def load(name: str) -> SearchSpace:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace), "every space module names its space so"
    return space


def compare(record: Record, architectures: int) -> tuple[int, int]:
    """Count so many random networks with all tools; gives how many were counted, and how many differ."""
    done = {int(row["number"]) for row in record.rows("networks.csv")}
    for number in sorted(set(range(architectures)) - done):
        name, shape = SPACES[number % len(SPACES)], SHAPES[number // len(SPACES) % len(SHAPES)]
        graph = sampled(load(name).at(shape, 10), Random(number))
        record.add(
            "networks.csv",
            {"number": number, "space": name, "shape": "x".join(map(str, shape)), **counts(graph)},
        )
    rows = record.rows("networks.csv")
    pairs = [
        ("macs", "fvcore_macs"),
        ("params", "torch_params"),
        ("fvcore_total", "fvcore"),
        ("thop_total", "thop"),
    ]
    return len(rows), sum(any(row[ours] != row[theirs] for ours, theirs in pairs) for row in rows)


def counts(graph: Graph) -> dict[str, object]:
    """The counts of one network, all exits: ours, then the tools'."""
    model = Model(graph).eval()
    image = torch.zeros(1, *graph.input_shape)
    analysis = (
        FlopCountAnalysis(model, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    )
    by_operator = analysis.by_operator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thop_total, _ = thop.profile(copy.deepcopy(model), (image,), verbose=False)
    total = Cost.total(graph)
    return {
        "id": graph.id,
        "macs": total.macs,
        "fvcore_macs": int(by_operator["conv"] + by_operator["linear"]),
        "params": total.params,
        "torch_params": sum(parameter.numel() for parameter in model.parameters()),
        "fvcore_total": total_ops(graph, "fvcore"),
        "fvcore": int(analysis.total()),
        "thop_total": total_ops(graph, "thop"),
        "thop": int(thop_total),
    }


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """Every network's MACs counted here against fvcore's, on the diagonal where they are equal."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    for name in SPACES:
        own = [row for row in rows if row["space"] == name]
        theirs = [int(row["fvcore_macs"]) for row in own]
        axes.loglog(theirs, [int(row["macs"]) for row in own], "o", markersize=3, label=name)
    axes.axline((1e4, 1e4), (1e9, 1e9), color="gray", linewidth=0.8, zorder=0)
    axes.set_xlabel("MACs by fvcore, convolutions and linear layers")
    axes.set_ylabel("MACs by Cost.total")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def sampled(space: SearchSpace, rng: Random) -> Graph:
    return space.graph(space.sample(rng))


def cold_per_s(networks: int, seed: int) -> float:
    """Networks per second from sampling to cost and id, in a space that has remembered nothing yet."""
    space, rng = (
        SearchSpace(importlib.import_module("search_spaces.mixed").build).at(SPEED_SHAPE, 10),
        Random(seed),
    )
    start = time.perf_counter()
    for _ in range(networks):
        Cost.of(sampled(space, rng))
    return networks / (time.perf_counter() - start)


def mutations_per_s(networks: int, seed: int) -> float:
    """Neighbors per second, from mutation to cost and id; the known candidate changes every 100."""
    space, rng = load("mixed").at(SPEED_SHAPE, 10), Random(seed)
    known = [space.sample(rng) for _ in range(networks // 100)]
    start = time.perf_counter()
    for architecture in known:
        for _ in range(100):
            Cost.of(space.graph(space.mutate(architecture, rng)))
    return networks / (time.perf_counter() - start)


def fvcore_ratio(networks: int, seed: int) -> float:
    """How many times longer fvcore takes for the cost of a network, module building not counted."""
    space, rng = load("mixed").at(SPEED_SHAPE, 10), Random(seed)
    ratios = []
    for architecture in [space.sample(rng) for _ in range(networks)]:
        model, image = Model(space.graph(architecture)).eval(), torch.zeros(1, *SPEED_SHAPE)
        ratios.append(fvcore_s(model, image) / ours_s(architecture))
    return median(ratios)


def fvcore_s(model: Model, image: torch.Tensor) -> float:
    start = time.perf_counter()
    FlopCountAnalysis(model, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
    return time.perf_counter() - start


def ours_s(architecture: Architecture) -> float:
    """Seconds from stored choices to cost and id, in a space that remembers blocks but not this network."""
    space = load("mixed").at(SPEED_SHAPE, 10)
    start = time.perf_counter()
    Cost.of(space.graph(architecture))
    return time.perf_counter() - start


def main() -> None:
    record = Record("cost", __doc__ or "")
    torch.set_num_threads(1)
    architectures, mismatches = compare(record, 40 if record.quick else 500)
    plot(record.rows("networks.csv"), record.raw / "macs.png")
    rounds, networks = (2, 1000) if record.quick else (15, 3000)
    for round_ in range(rounds):
        row = {
            "cold_per_s": cold_per_s(networks, round_),
            "mutations_per_s": mutations_per_s(networks, round_),
        }
        record.add("speed.csv", {name: round(value) for name, value in row.items()})
    speed = record.rows("speed.csv")[-rounds:]
    headline = {
        "architectures": architectures,
        "mismatches": mismatches,
        "per_s": max(int(row["cold_per_s"]) for row in speed),
        "mutations_per_s": max(int(row["mutations_per_s"]) for row in speed),
        "per_s_median": median(int(row["cold_per_s"]) for row in speed),
        "mutations_per_s_median": median(int(row["mutations_per_s"]) for row in speed),
        "ratio_fvcore": round(fvcore_ratio(5 if record.quick else 40, seed=1), 1),
    }
    record.finish(headline, NOTES)


NOTES = """
`networks.csv` has one row per random network: our counts beside fvcore's, thop's and torch's. `speed.csv`
has one row per round: `cold_per_s` samples networks of `mixed` at 3 x 32 x 32 in a space that has
remembered nothing; `mutations_per_s` are one-step mutations of known networks. Both go from choices to
`Cost` and canonical id; medians over rounds, one core. `ratio_fvcore` is the median over networks of
fvcore's time to count a built model over ours to build and count the graph.
"""

if __name__ == "__main__":
    main()
