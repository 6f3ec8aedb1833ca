"""Networks reach a target in int8, and compute about the same there."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import onnx
import pytest

import search_spaces.mixed
from nas.bundle import IMAGE, LOGITS
from nas.errors import MissingExtraError
from nas.graph import Graph
from nas.latency import Target, measure_exits
from nas.latency.engine import OnnxRuntime
from nas.latency.quantized import Int8
from nas.latency.target import Inputs
from nas.latency.timing import Timing
from nas.layers import activation, global_avg_pool
from nas.net import Net
from nas.onnx import onnx_model, random_weights, shipped_segments

space = search_spaces.mixed.space
GRAPHS = [space.graph(space.sample(Random(seed))) for seed in range(3)]


@final
class KeepingTarget(Target):
    """Keeps the models it is given; every run takes a millisecond."""

    def __init__(self) -> None:
        self.models: list[bytes] = []

    @property
    def identity(self) -> str:
        return "keeping"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        self.models = list(models)
        return Timing((np.full((5, len(models)), 1e-3),), (), 0.0, self.identity)


def chain(graph: Graph) -> list[bytes]:
    weights = random_weights(graph)
    return [onnx_model(graph, weights, segment) for segment in shipped_segments(graph)]


def images_of(graph: Graph, batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, *graph.input_shape), np.uint8)


def logits(models: Sequence[bytes], image: np.ndarray) -> np.ndarray:
    features = {IMAGE: image}
    for model in models:
        features |= OnnxRuntime().open(model)(features)
    return features[LOGITS]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])
def test_a_chain_of_segments_computes_about_the_same(graph: Graph) -> None:
    models, images = chain(graph), images_of(graph, 8)
    target = KeepingTarget()
    Int8(target).time(models, {IMAGE: images[:1]})
    expected, got = logits(models, images), logits(target.models, images)
    assert 0 < np.linalg.norm(got - expected) / np.linalg.norm(expected) < 0.15


def test_every_layer_but_that_of_the_logits_has_bytes_with_a_scale_per_channel() -> None:
    target = KeepingTarget()
    measure_exits(Int8(target), GRAPHS[0])
    quantized = 0
    for model in target.models:
        written = onnx.load_from_string(model).graph
        arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in written.initializer}
        dequantized = {node.output[0]: node for node in written.node if node.op_type == "DequantizeLinear"}
        layers = [node for node in written.node if node.op_type in ("Conv", "Gemm")]
        last = [node for node in layers if "logits" in node.output]
        assert all(arrays[node.input[1]].dtype == np.float32 for node in last)
        for node in layers:
            if node in last:
                continue
            weight, scale, _ = (arrays[name] for name in dequantized[node.input[1]].input)
            assert weight.dtype == np.int8
            assert scale.shape == weight.shape[:1]
            assert node.input[0] in dequantized
            quantized += 1
    assert quantized >= 4


def test_a_model_without_weights_stays_as_it_is() -> None:
    net = Net(lambda name, options: options[0])
    net.exit(lambda x: activation(global_avg_pool(x), "sigmoid"), net.input((3, 4, 4)))
    model = onnx_model(net.graph(), random_weights(net.graph()))
    target = KeepingTarget()
    Int8(target).measure(model, {IMAGE: images_of(net.graph(), 1)})
    assert target.models == [model]


def test_the_seed_decides() -> None:
    inputs = {IMAGE: images_of(GRAPHS[0], 1)}
    made = []
    for seed in (0, 0, 1):
        target = KeepingTarget()
        Int8(target, seed).time(chain(GRAPHS[0])[:1], inputs)
        made.append(target.models)
    assert made[0] == made[1] != made[2]


def test_the_time_is_that_of_the_target_within() -> None:
    target = Int8(KeepingTarget())
    latency = target.measure(chain(GRAPHS[0])[0], {IMAGE: images_of(GRAPHS[0], 1)})
    assert latency.p50_ms == 1
    assert latency.target == target.identity == "keeping, int8"


def test_nothing_is_left_behind_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    measure_exits(Int8(KeepingTarget()), GRAPHS[0])
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"nas-dial\[search\]"):
        Int8(KeepingTarget()).measure(b"", {})
