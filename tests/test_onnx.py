"""ONNX written from a graph computes what the torch model of that graph computes."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, final

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray

from nas import ops
from nas.errors import MissingExtraError, SpaceError
from nas.graph import Graph, Segment
from nas.layers import (
    activation,
    avg_pool,
    batch_norm,
    channel_shuffle,
    channel_slice,
    concat,
    conv,
    conv_norm_act,
    dropout,
    global_avg_pool,
    linear,
    max_pool,
)
from nas.model import Model
from nas.net import Feature, Net, block
from nas.onnx import LayerWriter, onnx_model, onnx_nodes, random_weights, shipped_segments, tensor_names
from nas.op import Op, Shape
from nas.space import SearchSpace

torch.set_num_threads(1)
Arrays = dict[str, NDArray[Any]]


@block
def gated(x: Feature, kind: str) -> Feature:
    """Squeeze and excitation, with a batch normalization of its own on flat features."""
    squeezed = batch_norm(linear(global_avg_pool(x), 4, bias=False))
    return x * activation(linear(activation(squeezed, "silu"), x.channels), kind)


@block
def split(x: Feature, kind: str) -> Feature:
    """Halves of the channels, one worked on, mixed again; its first convolution is read twice."""
    half = x.channels // 2
    y = conv(channel_slice(x, half, 2 * half), half, bias=True)
    y = batch_norm(activation(batch_norm(y), kind) + y + activation(y, "sigmoid"))
    return channel_shuffle(concat(channel_slice(x, 0, half), dropout(y)), 2)


@block
def head(x: Feature, num_classes: int) -> Feature:
    y = conv_norm_act(x, 6, kernel_size=(1, 3), act="hardswish")
    return linear(dropout(global_avg_pool(dropout(y))), num_classes)


@block
def joined_head(x: Feature, earlier: Feature, num_classes: int) -> Feature:
    return head(x, num_classes) + earlier


def build(net: Net, input_shape: Shape = (3, 9, 12), num_classes: int = 5) -> None:
    x = conv_norm_act(net.input(input_shape), 8, kernel_size=3, name="stem")
    logits: Feature | None = None
    for stage in range(3):
        with net.scope(f"stage{stage}"):
            kind = net.choice("kind", "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu")
            x = body(net, downsampled(net, x, kind), kind)
            if stage == 2 or net.choice("exit", True, False):
                if logits is None or net.choice("alone", True, False):
                    logits = net.exit(head, x, num_classes)
                else:
                    logits = net.exit(joined_head, x, logits, num_classes)


def downsampled(net: Net, x: Feature, kind: str) -> Feature:
    down = net.choice("down", "conv", "max", "avg", "none")
    if down == "conv":
        return conv_norm_act(x, x.channels, kernel_size=3, stride=2, groups=2, act=kind)
    return x if down == "none" else max_pool(x) if down == "max" else avg_pool(x)


def body(net: Net, x: Feature, kind: str) -> Feature:
    choice = net.choice("body", "gated", "split", "depthwise", "sum")
    if choice == "depthwise":
        return x + conv_norm_act(x, x.channels, kernel_size=5, groups=x.channels, act=None)
    if choice == "sum":
        return net.apply(ops.Add(), x, activation(x, kind), dropout(x), name="sum")
    return gated(x, kind) if choice == "gated" else split(x, kind)


space = SearchSpace(build)
GRAPHS = [space.graph(space.sample(Random(seed))) for seed in range(24)]


def trained(graph: Graph) -> Model:
    """A model whose every weight and statistic differs from its start, as training leaves it."""
    model = Model(graph, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for name, value in model.state_dict().items():
        if value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise * 50 + 40 if name.endswith((".mean", ".std")) else noise + 0.5)
    return model


def images(graph: Graph, batch: int) -> NDArray[np.uint8]:
    return np.random.default_rng(batch).integers(0, 256, (batch, *graph.input_shape), np.uint8)


def reference(model: Model, x: NDArray[np.uint8]) -> list[NDArray[Any]]:
    with torch.inference_mode():
        return [logits.numpy() for logits in model(torch.from_numpy(x))]


def run(data: bytes, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    onnx.checker.check_model(data, full_check=True)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = {tensor.name: inputs[tensor.name] for tensor in session.get_inputs()}
    return dict(zip(names, session.run(names, wanted), strict=True))


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_exit_equals_the_model(graph: Graph, batch: int) -> None:
    model, x = trained(graph), images(graph, batch)
    for exit, expected in enumerate(reference(model, x)):
        logits = run(onnx_model(graph, model.weights(), exit=exit), {"x": x})["logits"]
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])
def test_segments_chained_equal_the_model(graph: Graph) -> None:
    model, x = trained(graph), images(graph, 2)
    expected = reference(model, x)
    tensors: Arrays = {"x": x}
    for segment in shipped_segments(graph):
        results = run(onnx_model(graph, model.weights(), segment), tensors)
        assert tuple(results) == tensor_names(graph, segment)[1]
        assert not results.keys() & tensors.keys()
        if segment.name.startswith("head"):
            logits = results.pop("logits")
            probabilities = torch.tensor(logits).softmax(1).numpy()
            np.testing.assert_allclose(results.pop("confidence"), probabilities.max(1), rtol=1e-5)
            np.testing.assert_allclose(logits, expected.pop(0), rtol=1e-4, atol=1e-4)
        tensors |= results
    assert not expected


def test_the_graphs_above_use_every_op() -> None:
    written = [layer.op for graph in GRAPHS for layer in graph.layers]
    public = [getattr(ops, name) for name in ops.__all__]
    assert {type(op) for op in written} >= {
        op for op in public if isinstance(op, type) and issubclass(op, Op)
    }
    assert len({op.kind for op in written if isinstance(op, ops.Activation)}) == 6
    heads = [segment for graph in GRAPHS for segment in graph.segments() if segment.name.startswith("head")]
    assert any(not segment.nodes for segment in heads)  # logits that a later exit reads come from a trunk


@pytest.mark.parametrize("graph", GRAPHS[:6], ids=lambda graph: graph.id[:6])
def test_folding_leaves_no_norm_behind_a_convolution_and_no_dropout(graph: Graph) -> None:
    written = onnx.load_from_string(onnx_model(graph, random_weights(graph))).graph
    made_by = {node.output[0]: node.op_type for node in written.node}
    readers = [name for node in written.node for name in node.input]
    for node in written.node:
        assert node.op_type not in ("Dropout", "Identity")
        if node.op_type == "BatchNormalization" and made_by[node.input[0]] in ("Conv", "Gemm"):
            assert readers.count(node.input[0]) > 1


def test_old_runtimes_can_read_it() -> None:
    written = onnx.load_from_string(onnx_model(GRAPHS[0], random_weights(GRAPHS[0])))
    assert (written.ir_version, [opset.version for opset in written.opset_import]) == (8, [17])


def test_random_weights_keep_logits_in_range() -> None:
    for graph in GRAPHS:
        weights = random_weights(graph)
        logits = run(onnx_model(graph, weights), {"x": images(graph, 4)})["logits"]
        assert 1e-3 < np.abs(logits).max() < 1e3
    assert all((weights[name] == value).all() for name, value in random_weights(graph).items())


def test_weights_of_another_graph_are_refused() -> None:
    weights = random_weights(GRAPHS[0])
    weights["stem.conv.weight"] = weights["stem.conv.weight"][1:]
    with pytest.raises(SpaceError, match=r"stem\.conv\.weight of shape \(8, 3, 3, 3\), but got \(7, 3, 3"):
        onnx_model(GRAPHS[0], weights)
    with pytest.raises(SpaceError, match="but got none"):
        onnx_model(GRAPHS[0], {})


@pytest.mark.parametrize("exit", [-1, 9])
def test_an_exit_that_is_not_there(exit: int) -> None:
    with pytest.raises(IndexError, match=f"but got {exit}"):
        onnx_model(GRAPHS[0], random_weights(GRAPHS[0]), exit=exit)


@final
@dataclass(frozen=True)
class Softplus(Op):
    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x


def test_an_op_of_ones_own() -> None:
    net = Net(lambda name, options: options[0])
    net.exit(lambda x: net.apply(Softplus(), global_avg_pool(x), name="softplus"), net.input((3, 4, 4)))
    graph = net.graph()
    with pytest.raises(SpaceError, match="Softplus has none; register one"):
        onnx_model(graph, random_weights(graph))

    @onnx_nodes.register
    def _(op: Softplus, layer: LayerWriter) -> None:
        layer.node("Softplus", *layer.inputs)

    logits = run(onnx_model(graph, random_weights(graph)), {"x": np.full((1, 3, 4, 4), 255, np.uint8)})
    np.testing.assert_allclose(logits["logits"], np.log1p(np.exp(127.5 / 64)).repeat(3)[None], rtol=1e-5)


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"nas-dial\[search\]"):
        onnx_model(GRAPHS[0], random_weights(GRAPHS[0]))


def test_reserved_names_do_not_collide() -> None:
    net = Net(lambda name, options: options[0])
    x = conv(net.input((1, 4, 4)), 3, name="logits")
    net.exit(lambda x: activation(global_avg_pool(x), name="x"), x)
    net.exit(lambda x: linear(global_avg_pool(x), 3), x)
    graph = net.graph()
    trunk, *heads = shipped_segments(graph)
    assert [segment.name for segment in heads] == ["head_0", "head_1"]  # trunk_1 would have nothing to do
    tensors: Arrays = {"x": images(graph, 2)}
    tensors |= run(onnx_model(graph, random_weights(graph), trunk), tensors)
    assert set(tensors) == {"x", "logits/feature"}
    assert set(run(onnx_model(graph, random_weights(graph), heads[0]), tensors)) == {"logits", "confidence"}


def test_a_part_may_be_any_run_of_nodes() -> None:
    graph = GRAPHS[0]
    stem = [position for position, node in enumerate(graph.nodes) if node.name.startswith("stem")]
    part = Segment("trunk_stem", tuple(stem), (stem[0] - 1,), (stem[-1],))
    made = run(
        onnx_model(graph, random_weights(graph), part), {"normalize": np.ones((2, 3, 9, 12), np.float32)}
    )
    assert made["stem.act"].shape == (2, 8, 9, 12)
