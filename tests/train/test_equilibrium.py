"""Gradient equilibrium: the same as scaling gradients where heads and trunk meet."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace
from nas.train.equilibrium import gradient_shares

EXITS = 3


class Scaled(torch.autograd.Function):
    """The identity, whose gradient is scaled: the paper's way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 4) -> None:
    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), num_classes)

    x = net.input(input_shape)
    for stage in range(EXITS):
        x = conv_norm_act(x, 8, kernel_size=3, name=f"stage{stage}")
        net.exit(head, x)


def run_scaled(model: Model, x: Tensor) -> list[Tensor]:
    """Logits of all exits, with the paper's factors where heads begin and where the trunk goes on."""
    logits = []
    x = model.get_submodule("normalize")(x)
    for exit in range(EXITS):
        for layer in _layers(model, f"stage{exit}"):
            x = layer(x)
        left = EXITS - exit
        y = Scaled.apply(x, 1 / left)
        for layer in _layers(model, f"exit_{exit}" if exit else "exit"):
            y = layer(y)
        logits.append(y)
        x = Scaled.apply(x, (left - 1) / left)
    return logits


def _layers(model: Model, scope: str) -> Sequence[torch.nn.Module]:
    return [model.get_submodule(node.name) for node in model.graph.nodes if node.name.startswith(f"{scope}.")]


def test_shares_equal_scaling_along_the_way() -> None:
    space = SearchSpace(build, "tests:equilibrium")
    graph = space.graph(space.architecture({}))
    x = torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model, reference = Model(graph), Model(graph)
    sum(logits.square().sum() for logits in model(x)).backward()
    sum(logits.square().sum() for logits in run_scaled(reference, x)).backward()
    shares, wanted = gradient_shares(graph), dict(reference.named_parameters())
    assert shares.keys() == wanted.keys()
    assert sorted(set(shares.values())) == pytest.approx([1 / 3, 1 / 2, 1])
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad * shares[name], wanted[name].grad)
