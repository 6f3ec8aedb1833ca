"""Models of networks written for one question each: hand-written in torch too, twins, deep, with own ops."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, final

import pytest
import torch
from torch import Tensor, nn

from nas.errors import SpaceError
from nas.graph import Graph
from nas.layers import activation, batch_norm, conv, conv_norm_act, global_avg_pool, linear
from nas.model import Model, torch_layer
from nas.net import Feature, Net
from nas.op import Op, Shape
from nas.space import SearchSpace

SHAPE = (3, 15, 18)
CLASSES = 5
IMAGES = torch.randint(0, 256, (6, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def graph_of(build: Any) -> Graph:
    space = SearchSpace(build, "tests:one").at(SHAPE, CLASSES)
    return space.graph(space.sample(Random(0)))


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
    model, written = Model(graph_of(build_written)), Written()
    tensors = [value for key, value in model.state_dict().items() if not key.startswith("normalize")]
    for source, target in zip(tensors, written.state_dict().values(), strict=True):
        target.copy_(source)
    return model, written


def test_logits_and_gradients_equal_those_of_a_hand_written_network() -> None:
    model, written = both()
    x, y = IMAGES, torch.arange(len(IMAGES)) % CLASSES
    for module, batch in ((model, x), (written, x.float())):
        loss: Tensor = sum(nn.functional.cross_entropy(exit, y) for exit in module(batch))  # type: ignore[assignment]
        loss.backward()
    for mine, theirs in zip(model.parameters(), written.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    model.eval(), written.eval()  # statistics were updated alike by the pass above
    torch.testing.assert_close(model(x), written(x.float()))
    torch.testing.assert_close(model(x), model(x.float()))


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

    graphs = graph_of(one), graph_of(other)
    assert graphs[0].id == graphs[1].id
    x = IMAGES[:3]
    first, second = (Model(graph, seed=3).eval()(x)[0] for graph in graphs)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, Model(graphs[0], seed=4).eval()(x)[0])


def test_the_scale_of_features_neither_explodes_nor_vanishes() -> None:
    def deep(net: Net, input_shape: Shape, num_classes: int) -> None:
        x = net.input(input_shape)
        for _ in range(20):
            x = activation(conv(x, 64, kernel_size=3))
        net.exit(lambda x: linear(global_avg_pool(x), num_classes), x)

    model = Model(graph_of(deep))
    scales = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, out: scales.append(out.detach().std().item()))
    model(IMAGES[:4])
    assert 0.05 < scales[-1] / scales[1] < 20


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

    model = Model(graph_of(odd))
    assert {
        "half.conv.weight",
        "graph.conv.weight",
        "stage.weight",
        "stage.conv.weight",
    } <= model.state_dict().keys()
    assert len(list(model.parameters())) == 9
    copied = Model(model.graph, seed=1)
    copied.load_state_dict(model.state_dict())
    torch.testing.assert_close(copied(IMAGES[:2]), model(IMAGES[:2]))


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

    return graph_of(build)


def test_an_op_of_ones_own_trains_and_is_stored(tmp_path: Path) -> None:
    model = Model(with_op(Scale(2.0)))
    model(IMAGES[:2])[0].sum().backward()
    assert model.get_parameter("own.scale").grad is not None
    model.save(tmp_path / "m")
    assert Model.load(tmp_path / "m").graph == model.graph


def test_an_op_without_a_fitting_layer() -> None:
    with pytest.raises(SpaceError, match="an op must have a torch layer, but Unknown has none; register one"):
        Model(with_op(Unknown()))
    with pytest.raises(SpaceError, match=r"tensor own.scale must have shape none, but has \(4, 1, 1\)"):
        Model(with_op(Mistaken()))
