"""Models: equal to networks written in torch, and counted alike by fvcore and thop."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, final

import numpy as np
import pytest
import thop
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from nas import ops
from nas.cost import Cost, total_ops
from nas.errors import SpaceError
from nas.graph import Graph
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
from nas.model import Model, torch_layer
from nas.net import Feature, Net
from nas.op import Op, Shape
from nas.space import SearchSpace

SHAPE = (3, 13, 9)
CLASSES = 5


def head(x: Feature, num_classes: int) -> Feature:
    return linear(dropout(activation(batch_norm(global_avg_pool(x)), "hardswish")), num_classes)


def build(net: Net, input_shape: Shape = SHAPE, num_classes: int = CLASSES) -> None:
    """Networks that together use every op."""
    x = conv_norm_act(net.input(input_shape), net.choice("stem", 8, 12), kernel_size=3, name="stem")
    for number in range(net.choice("stages", 1, 2, 3)):
        with net.scope(f"stage{number}"):
            kind = net.choice("act", "relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu")
            y = conv(
                x,
                x.channels,
                kernel_size=(1, net.choice("kernel", 1, 3, 5)),
                groups=net.choice("groups", 1, 2, 4),
            )
            y = activation(batch_norm(y, eps=net.choice("eps", 1e-5, 1e-3)), kind)
            gate = activation(
                linear(global_avg_pool(y), y.channels, bias=net.choice("bias", False, True)), "sigmoid"
            )
            y = channel_shuffle(x + y * gate, net.choice("shuffle", 1, 2))
            left, right = channel_slice(y, 0, 3), channel_slice(y, 3, y.channels)
            pool = max_pool if net.choice("max", False, True) else avg_pool
            x = concat(pool(activation(right, kind)), pool(left), pool(conv(left, 5, bias=True)))
            if net.choice("pad", False, True):
                x = conv(x, 8, kernel_size=3, padding=2)
            x = conv(x, 8)
            net.exit(head, x, num_classes)


SPACE = SearchSpace(build, "tests:space")


def sample(seed: int) -> Graph:
    return SPACE.graph(SPACE.sample(Random(seed)))


def images(count: int, shape: Shape = SHAPE) -> Tensor:
    return torch.randint(
        0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def in_order(build: Any, shape: Shape = SHAPE) -> Graph:
    space = SearchSpace(build, "tests:one").at(shape, CLASSES)
    return space.graph(space.sample(Random(0)))


# A network as one writes it in torch
# -------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        hidden = 3 * channels
        self.conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class Written(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk0 = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), Block(8, 8, 1)
        )
        self.head0 = nn.Linear(8, CLASSES)
        self.trunk1 = nn.Sequential(Block(8, 12, 2), Block(12, 12, 1), Block(12, 12, 1))
        self.head1 = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.trunk0((x - 127.5) / 127.5)
        y = self.trunk1(x)
        return self.head0(x.mean((2, 3))), self.head1(y.mean((2, 3)))


def build_written(net: Net, input_shape: Shape, num_classes: int) -> None:
    def block(x: Feature, out_channels: int, stride: int = 1) -> Feature:
        hidden = 3 * x.channels
        y = conv_norm_act(x, hidden, act="relu6")
        y = conv_norm_act(y, hidden, kernel_size=3, stride=stride, groups=hidden, act="relu6")
        y = conv_norm_act(y, out_channels, act=None)
        return x + y if y.shape == x.shape else y

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), num_classes)

    x = block(conv_norm_act(net.input(input_shape), 8, kernel_size=3, stride=2, act="relu6"), 8)
    net.exit(head, x)
    net.exit(head, block(block(block(x, 12, 2), 12), 12))


def both() -> tuple[Model, Written]:
    model, written = Model(in_order(build_written, (3, 15, 18))), Written()
    tensors = [value for key, value in model.state_dict().items() if not key.startswith("normalize")]
    for source, target in zip(tensors, written.state_dict().values(), strict=True):
        target.copy_(source)
    return model, written


def test_logits_and_gradients_equal_those_of_a_hand_written_network() -> None:
    model, written = both()
    x = images(6, (3, 15, 18))
    y = torch.arange(6) % CLASSES
    for module, batch in ((model, x), (written, x.float())):
        loss: Tensor = sum(nn.functional.cross_entropy(exit, y) for exit in module(batch))  # type: ignore[assignment]
        loss.backward()
    for mine, theirs in zip(model.parameters(), written.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    model.eval(), written.eval()  # statistics were updated alike by the pass above
    torch.testing.assert_close(model(x), written(x.float()))
    torch.testing.assert_close(model(x), model(x.float()))


@pytest.mark.parametrize("seed", range(30))
def test_costs_equal_fvcore_and_thop(seed: int) -> None:
    graph = sample(seed)
    model = Model(graph).eval()
    x = images(1)
    assert sum(p.numel() for p in model.parameters()) == Cost.total(graph).params
    counted = FlopCountAnalysis(model, x).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert counted.total() == total_ops(graph, "fvcore")
    assert sum(counted.by_operator()[name] for name in ("conv", "linear")) == Cost.total(graph).macs
    assert thop.profile(copy.deepcopy(model), (x,), verbose=False)[0] == total_ops(graph, "thop")


def test_the_random_networks_use_every_op() -> None:
    used = {type(layer.op).__name__ for seed in range(30) for layer in sample(seed).layers}
    assert used == {name for name in ops.__all__ if isinstance(getattr(ops, name), type)}


@pytest.mark.parametrize("seed", range(10))
def test_every_layer_gives_the_shape_of_its_op(seed: int) -> None:
    graph = sample(seed)
    model = Model(graph)
    shapes = {}
    modules = dict(model.named_modules())
    for node in graph.nodes[1:]:
        modules[node.name].register_forward_hook(
            lambda module, args, out, name=node.name: shapes.update({name: tuple(out.shape[1:])})
        )
    logits = model(images(2))
    assert shapes == {node.name: node.shape for node in graph.nodes[1:]}
    assert [exit.shape for exit in logits] == [(2, CLASSES)] * len(graph.exits)


@pytest.mark.parametrize("seed", range(5))
def test_features_stay_channels_last(seed: int) -> None:
    model = Model(sample(seed))
    formats = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ChannelShuffle):
            module.register_forward_hook(
                lambda module, args, out: formats.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    model(images(2))
    assert formats and all(formats)


# Weights
# ------------------------------------------------------------------------------------------------------


def test_twins_start_equal_whatever_their_names_and_writing_order() -> None:
    def one(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = conv(net.input(input_shape), 8)
        wide, deep = conv(x, 6, kernel_size=3), batch_norm(conv(x, 6))
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), wide + deep)

    def other(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = conv(net.input(input_shape), 8, name="first")
        deep = batch_norm(conv(x, 6, name="b"))
        wide = conv(x, 6, kernel_size=3, name="a")
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), deep + wide)

    graphs = in_order(one), in_order(other)
    assert graphs[0].id == graphs[1].id
    x = images(3)
    first, second = (Model(graph, seed=3).eval()(x)[0] for graph in graphs)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, Model(graphs[0], seed=4).eval()(x)[0])


def test_making_a_model_leaves_torch_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    Model(sample(0), seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_scale_of_features_neither_explodes_nor_vanishes() -> None:
    def deep(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = net.input(input_shape)
        for _ in range(20):
            x = activation(conv(x, 64, kernel_size=3))
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), x)

    model = Model(in_order(deep))
    scales = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, out: scales.append(out.detach().std().item()))
    model(images(4))
    assert 0.05 < scales[-1] / scales[1] < 20


@pytest.mark.parametrize("seed", range(3))
def test_names_and_shapes_are_those_of_the_graph(seed: int) -> None:
    graph = sample(seed)
    weights = Model(graph).weights()
    expected = {
        f"{node.name}.{key}": shape
        for node in graph.nodes
        for key, shape in (node.layer.weights | node.layer.buffers).items()  # type: ignore[operator]
    }
    assert {key: value.shape for key, value in weights.items()} == expected
    assert all(value.dtype == np.float32 and value.flags.c_contiguous for value in weights.values())


def test_scopes_may_have_the_names_of_torch_methods() -> None:
    def odd(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = net.input(input_shape)
        for name in ("half", "type", "forward", "graph", "weights"):
            with net.scope(name):
                x = conv(x, 4)
        x = conv(x, 4, name="stage")
        with net.scope("stage"):
            x = conv(x, 4)
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), x)

    model = Model(in_order(odd))
    assert {
        "half.conv.weight",
        "graph.conv.weight",
        "stage.weight",
        "stage.conv.weight",
    } <= model.state_dict().keys()
    assert len(list(model.parameters())) == 9
    copied = Model(model.graph, seed=1)
    copied.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(images(2)), model(images(2)))


def test_a_copy_is_independent() -> None:
    model = Model(sample(1)).eval()
    before = model(images(2))
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    torch.testing.assert_close(model(images(2)), before)
    assert copied(images(2))[0].abs().max() == 0


def test_normalization_is_that_of_the_data() -> None:
    model = Model(sample(0))
    model.set_normalization((10, 20, 30), (1, 2, 4))
    x = torch.tensor([11, 24, 18], dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, *SHAPE)
    first = model.get_submodule("normalize")(x)
    torch.testing.assert_close(first, torch.tensor([1.0, 2, -3]).reshape(1, 3, 1, 1).expand(1, *SHAPE))


@pytest.mark.parametrize(
    ("mean", "std"), [((0, 0), (1, 1)), ((0, 0, 0), (1, 1, 0)), ((0, 0, 0), (1, math.nan, 1))]
)
def test_normalization_must_fit(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(SpaceError, match="mean and std must have 3 values with std > 0"):
        Model(sample(0)).set_normalization(mean, std)


# Files
# --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_saved_and_loaded_is_the_same(seed: int, tmp_path: Path) -> None:
    model = Model(sample(seed), seed=seed)
    model(images(4))  # moves the statistics
    model.save(tmp_path / "m.safetensors")
    loaded = Model.load(tmp_path / "m.safetensors")
    assert loaded.graph == model.graph
    assert torch.equal(torch.stack(loaded.eval()(images(3))), torch.stack(model.eval()(images(3))))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    Model(sample(0)).save(path)
    whole = path.read_bytes()
    for content in (b"", whole[:5], whole[:300], whole[:-4]):
        path.write_bytes(content)
        with pytest.raises(SpaceError, match=r"must be a whole safetensors file, but got: .*; save it again"):
            Model.load(path)
    path.write_bytes(whole.replace(b"nas-model-1", b"nas-model-9"))
    with pytest.raises(SpaceError, match="must have format 'nas-model-1', but has 'nas-model-9'"):
        Model.load(path)
    with pytest.raises(FileNotFoundError):
        Model.load(tmp_path / "absent")


def test_weights_must_fit() -> None:
    model = Model(sample(0))
    weights = model.weights()
    before = {key: value.copy() for key, value in weights.items()}
    changed = weights | {"stem.conv.weight": np.zeros((1, 2, 3), np.float32)}
    with pytest.raises(
        SpaceError, match=r"stem.conv.weight must have shape \(\d+, 3, 3, 3\), but has \(1, 2, 3\)"
    ):
        model.set_weights(changed)
    with pytest.raises(SpaceError, match="tensor more must have shape none"):
        model.set_weights(weights | {"more": np.zeros(1, np.float32)})
    np.testing.assert_equal(model.weights(), before)


# A layer of one's own
# -----------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Scale(Op):
    """A feature times one weight per channel."""

    start: float = 1.0

    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x

    def weights(self, *inputs: Shape) -> Mapping[str, Shape]:
        (x,) = inputs
        return {"scale": (x[0], 1, 1)}


class ScaleLayer(nn.Module):
    def __init__(self, channels: int, start: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels, 1, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@dataclass(frozen=True)
class Unknown(Op):
    def out_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@dataclass(frozen=True)
class Mistaken(Op):
    def out_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


@torch_layer.register
def _(op: Scale, x: Shape) -> nn.Module:
    return ScaleLayer(x[0], op.start)


@torch_layer.register
def _(op: Mistaken, x: Shape) -> nn.Module:
    return ScaleLayer(x[0], 1.0)


def with_op(op: Op) -> Graph:
    def build(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = net.apply(op, conv(net.input(input_shape), 4), name="own")
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), x)

    return in_order(build)


def test_an_op_of_ones_own_trains_and_is_stored(tmp_path: Path) -> None:
    model = Model(with_op(Scale(2.0)))
    model(images(2))[0].sum().backward()
    assert model.get_parameter("own.scale").grad is not None
    model.save(tmp_path / "m")
    assert Model.load(tmp_path / "m").graph == model.graph


def test_an_op_without_a_fitting_layer() -> None:
    with pytest.raises(SpaceError, match="an op must have a torch layer, but Unknown has none; register one"):
        Model(with_op(Unknown()))
    with pytest.raises(SpaceError, match=r"tensor own.scale must have shape none, but has \(4, 1, 1\)"):
        Model(with_op(Mistaken()))
