"""OpenVINO computes what ONNX Runtime computes, network by network and segment by segment."""

import sys
from random import Random

import numpy as np
import pytest

import search_spaces.mixed
import search_spaces.msdnet
import search_spaces.tiny
from nas.bundle import IMAGE, LOGITS
from nas.errors import MissingExtraError
from nas.graph import Graph
from nas.latency.engine import Engine, Features, OnnxRuntime
from nas.latency.openvino import OpenVino
from nas.onnx import onnx_model, random_weights, shipped_segments

SPACES = {
    "mixed": search_spaces.mixed.space,
    "msdnet": search_spaces.msdnet.space,
    "tiny": search_spaces.tiny.space,
}
NETWORKS = [(name, seed) for name in SPACES for seed in range(3)]


def chained(engine: Engine, graph: Graph, images: np.ndarray) -> list[Features]:
    """What each segment makes of all that was made before it."""
    weights = random_weights(graph)
    features, steps = {IMAGE: images}, []
    for segment in shipped_segments(graph):
        made = engine.open(onnx_model(graph, weights, segment))(features)
        steps.append(made)
        features |= {name: array for name, array in made.items() if name != LOGITS}
    return steps


@pytest.mark.parametrize(("name", "seed"), NETWORKS)
def test_every_segment_equals_onnxruntime(name: str, seed: int) -> None:
    space = SPACES[name]
    graph = space.graph(space.sample(Random(seed)))
    images = np.random.default_rng(seed).integers(0, 256, (1 + seed, *graph.input_shape), np.uint8)
    expected, got = chained(OnnxRuntime(), graph, images), chained(OpenVino(), graph, images)
    assert LOGITS in expected[-1]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for tensor, array in theirs.items():
            assert ours[tensor].shape == array.shape
            assert np.abs(ours[tensor] - array).max() <= 1e-4 * np.abs(array).max()


def test_results_outlive_the_next_run() -> None:
    graph = SPACES["tiny"].graph(SPACES["tiny"].sample(Random(0)))
    run = OpenVino().open(onnx_model(graph, random_weights(graph)))
    images = np.random.default_rng(0).integers(0, 256, (2, 1, *graph.input_shape), np.uint8)
    first = run({IMAGE: images[0]})[LOGITS]
    kept = first.copy()
    assert (run({IMAGE: images[1]})[LOGITS] != kept).any()
    assert (first == kept).all()


def test_identity_says_version_and_threads() -> None:
    assert OpenVino().identity != OpenVino(threads=2).identity
    name, version, *_ = OpenVino().identity.replace(",", "").split()
    assert name == "openvino"
    assert all(map(str.isdecimal, version.split(".")))


def test_without_openvino_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"nas-dial\[openvino\]"):
        OpenVino()
