"""Whether the estimator gives the same twice, on a quiet core and beside a busy one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from random import Random
from statistics import mean, median
from time import perf_counter

import numpy as np
from latency_predictor import load
from record import Record, Row

from nas import Graph
from nas.latency import OnnxRuntime, Target, measure_exit
from nas.onnx import onnx_model, random_weights

FILE = "repeated.csv"
BUSY = "import numpy as np\nx = np.ones((512, 512))\nwhile True: x = x @ x / 512"


def collect(record: Record, target: Target, *, networks: int, seconds: float) -> None:
    """Two runs over all networks in each condition, and two of plain medians of consecutive calls."""
    done = {(row["condition"], int(row["network"])) for row in record.rows(FILE)}
    space, rng = load("mixed"), Random(5)
    graphs = [space.graph(space.sample(rng)) for _ in range(networks)]
    for condition, load_ in (("quiet", nullcontext), ("loaded", busy_core)):
        todo = [number for number in range(networks) if (condition, number) not in done]
        if not todo:
            continue
        with load_():
            ours = [
                [measure_exit(target, graphs[number], seconds=seconds).p50_ms for number in todo]
                for _ in range(2)
            ]
            naive = [[consecutive_ms(graphs[number]) for number in todo] for _ in range(2)]
        for place, number in enumerate(todo):
            record.add(
                FILE,
                {
                    "condition": condition,
                    "network": number,
                    "first_ms": ours[0][place],
                    "second_ms": ours[1][place],
                    "first_consecutive_ms": naive[0][place],
                    "second_consecutive_ms": naive[1][place],
                },
            )


def consecutive_ms(graph: Graph, seconds: float = 0.25) -> float:
    """The usual way: the median of calls one after another, after a warm-up."""
    run = OnnxRuntime().open(onnx_model(graph, random_weights(graph)))
    image = {"image": np.random.default_rng(0).integers(0, 256, (1, *graph.input_shape), np.uint8)}
    times_ms: list[float] = []
    for _ in range(10):
        run(image)
    begin = perf_counter()
    while perf_counter() - begin < seconds:
        start = perf_counter()
        run(image)
        times_ms.append(1e3 * (perf_counter() - start))
    return median(times_ms)


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process multiplies matrices all the time, with one thread."""
    environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", BUSY], env=environment)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def figures(rows: list[Row], condition: str) -> tuple[float, float]:
    """Mean difference of two runs in percent: of the estimator, and of consecutive medians."""
    own = [row for row in rows if row["condition"] == condition]
    pairs = (("first_ms", "second_ms"), ("first_consecutive_ms", "second_consecutive_ms"))
    ours, naive = (100 * mean(abs(float(row[a]) / float(row[b]) - 1) for row in own) for a, b in pairs)
    return ours, naive
