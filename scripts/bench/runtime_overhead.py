"""What stopping costs beside graphs cut by hand, what going on costs, and what a switch costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import runtime_networks as networks
from record import Record, Row

from nas.bundle import Bundle
from nas.graph import Graph, Segment
from nas.model import Model
from nas.onnx import onnx_model, shipped_segments
from nas.runtime import Runtime
from nas.runtime.sessions import Arrays, BoundCall, open_session

__all__ = ["OVERHEADS", "SWITCHES", "collect", "figures", "markdown"]

OVERHEADS, SWITCHES = "overheads.csv", "switches.csv"
ALLOWED_US = 10.0
_ROUND_S = 2e-3
_LOADS = 6  # weights lie elsewhere in memory each time, which changes the time of a network


def collect(
    record: Record, *, rounds: int, alternations: int, passes: int = 1, mixed: int = networks.MIXED
) -> None:
    """Each network by itself, all of them several times, then the alternations between two levels."""
    done = {(row["pass"], row["network"]) for row in record.rows(OVERHEADS)}
    graphs = networks.mixed_networks(mixed)
    for number, (name, graph) in product(range(passes), graphs.items()):
        if (str(number), name) not in done:
            for row in _overheads(name, networks.trained_like(graph), rounds):
                record.add(OVERHEADS, {"pass": number, **row})
    if not record.rows(SWITCHES):
        models = {name: networks.trained_like(graph) for name, graph in list(graphs.items())[2:5]}
        for row in _switches(models, alternations):
            record.add(SWITCHES, row)


def figures(record: Record) -> dict[str, object]:
    """The worst level: what remains after the allowed microseconds, in percent of the graph cut by hand."""
    rows, switches = _least(record.rows(OVERHEADS)), record.rows(SWITCHES)

    def worst(name: str, allowed: str) -> float:
        found = [row for row in rows if row[f"{name}_us"]]
        return round(max(_left(row, name, allowed) for row in found), 2)

    return {
        "fused_overhead_pct": worst("fused", "decided"),
        "staged_overhead_pct": worst("staged", "extra_calls"),
        "resume_overhead_pct": worst("resume", "one"),
        "switch_us": round(max(float(row["switch_us"]) for row in switches), 2),
        "reload_us": round(min(float(row["reload_us"]) for row in switches)),
    }


def _least(rows: list[Row]) -> list[Row]:
    """Of each exit the least time of each system in all passes: other programs only make them slower."""
    least: dict[tuple[str, str], Row] = {}
    for row in rows:
        known = least.setdefault((row["network"], row["exit"]), dict(row))
        known |= {
            f"{name}_us": min(known[f"{name}_us"], row[f"{name}_us"], key=float)
            for name in _NAMES
            if row[f"{name}_us"]
        }
    return list(least.values())


def _left(row: Row, name: str, allowed: str) -> float:
    base = float(row["part_us" if name == "resume" else "cut_us"])
    count = 1.0 if allowed == "one" else float(row[allowed])
    return 100 * (float(row[f"{name}_us"]) - ALLOWED_US * count - base) / base


def _overheads(name: str, model: Model, rounds: int) -> list[Mapping[str, object]]:
    graph, weights, rows = model.graph, model.weights(), []
    image = np.random.default_rng(0).integers(0, 256, (1, *networks.SHAPE), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        bundle = networks.bundle_of(Path(folder, "bundle"), {name: model})
        for exit in range(len(graph.exits)):
            times = _timed(lambda exit=exit: _systems(bundle, graph, weights, image, exit), rounds)
            calls = len(bundle.model(name).segments_at(exit))
            decided = min(exit + 1, len(graph.exits) - 1)
            row = {"network": name, "exit": exit, "extra_calls": calls - 1, "decided": decided}
            rows.append(row | {f"{system}_us": times.get(system, "") for system in _NAMES})
    return rows


_NAMES = ("cut", "fused", "staged", "part", "resume")


def _systems(
    bundle: Bundle, graph: Graph, weights: Mapping[str, np.ndarray], image: np.ndarray, exit: int
) -> dict[str, Callable[[], float]]:
    """Everything loaded anew: each gives the seconds of one answer of batch 1, calls tied to arrays."""
    runtime = Runtime(bundle)
    (model,) = bundle.models
    numbers = [level.exit for level in bundle.levels]
    level = numbers.index(exit)
    cut = _bound(onnx_model(graph, weights, exit=exit), {"x": image.copy()})
    unasked = np.full(model.exits - 1, 2, np.float32)
    dials: Arrays = {"x": image.copy(), "max_exit": np.array(exit, np.int64), "thresholds": unasked}
    fused = _bound(bundle.read(model.fused), dials)
    systems = {
        "cut": _seconds(cut),
        "fused": _seconds(fused),
        "staged": _seconds(lambda: runtime.run(image, level)),
    }
    if exit:
        part, features = _part(graph, weights, runtime, image, exit)
        before = numbers.index(exit - 1)

        call = _bound(part, features)

        def parted() -> float:
            runtime.run(image, before)  # which leaves the caches as before a resume
            begin = perf_counter()
            call()
            return perf_counter() - begin

        def resumed() -> float:
            progress = runtime.start(image, before)
            begin = perf_counter()
            progress.resume(level)
            return perf_counter() - begin

        systems |= {"part": parted, "resume": resumed}
    return systems


def _part(
    graph: Graph, weights: Mapping[str, np.ndarray], runtime: Runtime, image: np.ndarray, exit: int
) -> tuple[bytes, Arrays]:
    """What is missing from one exit to the next as one file, and the features that it reads."""
    pieces = [part for part in shipped_segments(graph) if part.name in (f"trunk_{exit}", f"head_{exit}")]
    nodes = sorted(node for part in pieces for node in part.nodes)
    inputs = sorted({read for part in pieces for read in part.inputs} - set(nodes))
    segment = Segment(f"exit_{exit}", tuple(nodes), tuple(inputs), (graph.exits[exit],))
    (model,) = runtime.bundle.models
    arrays: Arrays = {"x": image.copy()}
    for trunk in model.segments:
        if trunk.name.startswith("trunk") and int(trunk.name.split("_")[1]) < exit:
            made = runtime.session(model, trunk).run(
                trunk.outputs, {each: arrays[each] for each in trunk.inputs}
            )
            arrays |= dict(zip(trunk.outputs, made, strict=True))
    return onnx_model(graph, weights, segment), arrays


def _bound(file: bytes, arrays: Arrays) -> BoundCall:
    return BoundCall(open_session(file, 1), arrays)


def _seconds(call: Callable[[], object]) -> Callable[[], float]:
    def timed() -> float:
        begin = perf_counter()
        call()
        return perf_counter() - begin

    return timed


def _timed(load: Callable[[], dict[str, Callable[[], float]]], rounds: int) -> dict[str, float]:
    """Microseconds of each system, the least round median of several loads; all take turns."""
    best: dict[str, float] = {}
    for _ in range(_LOADS):
        systems = load()
        calls = {
            name: max(3, round(_ROUND_S / min(run() for _ in range(5)))) for name, run in systems.items()
        }
        for _ in range(rounds):
            for name, run in systems.items():
                found = 1e6 * median(run() for _ in range(calls[name]))
                best[name] = min(found, best.get(name, found))
    return best


def _calls(run: Callable[[], float]) -> int:
    return max(3, round(_ROUND_S / min(run() for _ in range(5))))


def _switches(models: Mapping[str, Model], alternations: int) -> list[Mapping[str, object]]:
    """The first answer after a change of level less that of a level that stays, and a model loaded anew."""
    image = np.random.default_rng(0).integers(0, 256, (1, *networks.SHAPE), np.uint8)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = networks.bundle_of(Path(folder, "bundle"), models)
        runtime = Runtime(bundle)
        first = bundle.models[0].name
        exits = [number for number, level in enumerate(bundle.levels) if level.model == first]
        pairs = {"exits of one model": (exits[0], exits[-1]), "models": (exits[0], len(bundle.levels) - 1)}
        for kind, levels in pairs.items():
            for level in levels:
                runtime.run(image, level)
            held = runtime.memory_bytes, runtime.loaded
            for level, other in (levels, levels[::-1]):
                run = _seconds(lambda level=level: runtime.run(image, level))
                switched = [_after(runtime, image, other, run) - _steady(run) for _ in range(alternations)]
                rows.append(
                    {
                        "between": kind,
                        "to": f"{bundle.levels[level].model} exit {bundle.levels[level].exit}",
                        "switch_us": 1e6 * median(switched),
                        "level_us": 1e6 * median(run() for _ in range(200)),
                        "reload_us": 1e6 * _reload(bundle, level, image),
                        "weights_added": int((runtime.memory_bytes, runtime.loaded) != held),
                    }
                )
    return rows


def _after(runtime: Runtime, image: np.ndarray, other: int, run: Callable[[], float]) -> float:
    runtime.run(image, other)
    return run()


def _steady(run: Callable[[], float]) -> float:
    run()
    return run()


def _reload(bundle: Bundle, level: int, image: np.ndarray) -> float:
    """What a program pays that loads the model of a level instead."""
    begin = perf_counter()
    Runtime(bundle).run(image, level)
    return perf_counter() - begin


def markdown(record: Record) -> str:
    """All levels, and the switches."""
    lines = [
        "| network | exit | cut µs | fused µs | staged µs | part µs | resume µs |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for row in _least(record.rows(OVERHEADS)):
        cells = [f"{float(row[f'{name}_us']):.1f}" if row[f"{name}_us"] else "" for name in _NAMES]
        lines.append(f"| {row['network']} | {row['exit']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| switch between | to | switch µs | level µs | reload µs |",
        "| --- | --- | --: | --: | --: |",
    ]
    for row in record.rows(SWITCHES):
        cells = [f"{float(row[name]):.1f}" for name in ("switch_us", "level_us", "reload_us")]
        lines.append(f"| {row['between']} | {row['to']} | {' | '.join(cells)} |")
    return "\n".join(lines)
