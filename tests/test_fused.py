"""One file with all exits answers as the network and its read-out do, and what it skips does not run."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from nas.bundle import Readout
from nas.bundle.readout import COMBINATIONS, CONFIDENCES
from nas.cascade import decide
from nas.graph import Graph
from nas.model import Model
from nas.onnx import fused_model, onnx_model, quantized_model, shipped_segments
from nas.train import predict
from search_spaces.mixed import space

READOUTS = [Readout(combine=how, confidence=kind) for how in COMBINATIONS for kind in CONFIDENCES]


def sampled(exits: int, seed: int = 0) -> Graph:
    """A network of `mixed` with so many exits."""
    rng, small = Random(seed), space.at((3, 12, 12), 4)
    graphs = (small.graph(small.sample(rng)) for _ in itertools.count())
    return next(graph for graph in graphs if len(graph.exits) == exits)


GRAPHS = [sampled(exits) for exits in (1, 2, 4)]


Weights = Mapping[str, NDArray[np.float32]]


def segment_files(graph: Graph, weights: Weights, readout: Readout) -> dict[str, bytes]:
    return {part.name: onnx_model(graph, weights, part, readout=readout) for part in shipped_segments(graph)}


def opened(file: bytes, **options: object) -> ort.InferenceSession:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    for name, value in options.items():
        setattr(settings, name, value)
    return ort.InferenceSession(file, settings, providers=["CPUExecutionProvider"])


def images_of(graph: Graph, count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape), np.uint8)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: f"{len(graph.exits)} exits")
@pytest.mark.parametrize("readout", READOUTS, ids=lambda readout: f"{readout.combine} {readout.confidence}")
def test_it_answers_as_the_network_and_its_readout(graph: Graph, readout: Readout) -> None:
    exits = len(graph.exits)
    warm = np.linspace(0.5, 2, exits).tolist()
    readout = Readout(combine=readout.combine, confidence=readout.confidence, temperatures=tuple(warm))
    model, rng = Model(graph), np.random.default_rng(1)
    weights = {name: value * 3 if "weight" in name else value for name, value in model.weights().items()}
    model.set_weights(weights)  # of which the exits are neither all unsure nor all sure
    session = opened(
        fused_model(segment_files(graph, weights, readout), readout, graph.input_shape, graph.num_classes)
    )
    images = images_of(graph, 24)
    heads = predict(model, images, 24)
    left = set()
    for number, image in enumerate(images):
        max_exit, thresholds = int(rng.integers(exits)), rng.uniform(0, 1.2, exits - 1).astype(np.float32)
        feeds = {"x": image[None], "max_exit": np.array(max_exit), "thresholds": thresholds}
        logits, exit = session.run(["logits", "exit"], feeds)
        alone = [head[number : number + 1] for head in heads]
        expected = decide(alone, readout, exit=max_exit, thresholds=thresholds.tolist())
        assert exit == expected.exits[0]
        np.testing.assert_allclose(logits, expected.logits, rtol=1e-3, atol=1e-3)
        left.add(int(exit))
    assert len(left) > (exits > 1)


@pytest.mark.parametrize(("given", "counts_as"), [(-5, 0), (99, 3), (3, 3)])
def test_an_exit_beyond_those_there_are_counts_as_the_nearest(given: int, counts_as: int) -> None:
    graph, weights = GRAPHS[2], Model(GRAPHS[2]).weights()
    session = opened(fused_model(segment_files(graph, weights, Readout()), Readout(), graph.input_shape, 4))
    feeds = {"x": images_of(graph, 1), "max_exit": np.array(given), "thresholds": np.full(3, 2, np.float32)}
    assert session.run(["exit"], feeds)[0] == counts_as


def test_a_network_that_gives_no_numbers_stops_where_it_is_told() -> None:
    graph = GRAPHS[2]
    weights = {name: np.full_like(value, np.nan) for name, value in Model(graph).weights().items()}
    session = opened(fused_model(segment_files(graph, weights, Readout()), Readout(), graph.input_shape, 4))
    feeds = {"x": images_of(graph, 1), "max_exit": np.array(1), "thresholds": np.full(3, 2, np.float32)}
    assert session.run(["exit"], feeds)[0] == 1


def test_every_weight_is_there_once() -> None:
    graph, weights = GRAPHS[2], Model(GRAPHS[2]).weights()
    files = segment_files(graph, weights, Readout())
    fused = fused_model(files, Readout(), graph.input_shape, 4)
    onnx.checker.check_model(onnx.load_from_string(fused), full_check=True)
    large = [sum(_sizes(onnx.load_from_string(file).graph)) for file in files.values()]
    assert sum(_sizes(onnx.load_from_string(fused).graph)) == sum(large)


def _sizes(graph: onnx.GraphProto) -> list[int]:
    """Bytes of the tensors of a graph and of the branches in it, without the numbers that decide."""
    attributes = (part for node in graph.node for part in node.attribute)
    inner = [part.g for part in attributes if part.type == onnx.AttributeProto.GRAPH]
    own = [
        len(tensor.raw_data)
        for tensor in graph.initializer
        if not tensor.name.startswith(("exit_", "exits/"))
    ]
    return own + [size for branch in inner for size in _sizes(branch)]


@pytest.mark.parametrize("max_exit", [0, 1, 2, 3])
@pytest.mark.parametrize("asked", [False, True])
def test_what_is_skipped_does_not_run(tmp_path: Path, max_exit: int, asked: bool) -> None:
    graph, weights = GRAPHS[2], Model(GRAPHS[2]).weights()
    file = fused_model(segment_files(graph, weights, Readout()), Readout(), graph.input_shape, 4)
    session = opened(
        file,
        enable_profiling=True,
        profile_file_prefix=str(tmp_path / "profile"),
        graph_optimization_level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL,  # which would rename nodes
    )
    thresholds = np.full(3, 0.9999 if asked else 2, np.float32)
    feeds = {"x": images_of(graph, 1), "max_exit": np.array(max_exit), "thresholds": thresholds}
    assert session.run(["exit"], feeds)[0] == max_exit
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = {event["name"].split("/")[0] for event in events if event["cat"] == "Node"}
    heads = range(max_exit + 1) if asked else [max_exit]
    expected = {f"trunk_{k}" for k in range(max_exit + 1)} | {f"head_{k}" for k in heads}
    parts = {part.name for part in shipped_segments(graph)}
    assert ran & parts == expected & parts


@pytest.mark.parametrize("graph", GRAPHS[1:], ids=lambda graph: f"{len(graph.exits)} exits")
def test_segments_in_int8_fuse_as_well(graph: Graph) -> None:
    weights, readout, exits = Model(graph).weights(), Readout(), len(graph.exits)
    files, sessions = dict[str, bytes](), dict[str, ort.InferenceSession]()
    sample = {"x": images_of(graph, 4)}
    for name, file in segment_files(graph, weights, readout).items():
        files[name] = quantized_model(file, [sample])
        sessions[name] = opened(files[name])
        sample |= answered(opened(file), sample)
    fused = opened(fused_model(files, readout, graph.input_shape, graph.num_classes))
    for exit in range(exits):
        arrays = {"x": images_of(graph, 1, seed=exit)}
        for name in [*(f"trunk_{k}" for k in range(exit + 1)), f"head_{exit}"]:
            arrays |= answered(sessions[name], arrays) if name in sessions else {}
        thresholds = np.full(exits - 1, 2, np.float32)
        feeds = {"x": arrays["x"], "max_exit": np.array(exit), "thresholds": thresholds}
        np.testing.assert_allclose(fused.run(["logits"], feeds)[0], arrays["logits"], rtol=1e-5, atol=1e-5)


def answered(session: ort.InferenceSession, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    made = [each.name for each in session.get_outputs()]
    results = session.run(made, {each.name: arrays[each.name] for each in session.get_inputs()})
    return dict(zip(made, results, strict=True))
