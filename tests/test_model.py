"""Models: shapes, names, weights and files are those of the graph; fvcore and thop count them alike."""

import copy
import math
from pathlib import Path
from random import Random

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
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
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


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=generator)


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


def test_making_a_model_leaves_torch_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    Model(sample(0), seed=5)
    assert torch.equal(torch.get_rng_state(), state)


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
