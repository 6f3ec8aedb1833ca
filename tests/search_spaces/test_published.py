"""Published networks have exactly the published parameters and multiply-accumulates."""

import pytest

from nas.cost import Cost, total_ops
from nas.graph import Graph
from nas.ops import Conv2d, Linear
from nas.space import Architecture, SearchSpace, load_space
from search_spaces.msdnet import CONVS, msdnet_cifar10
from search_spaces.msdnet import space as msdnet


def graph_of(name: str) -> Graph:
    module = name.partition(":")[0]
    network, space = load_space(f"search_spaces.{name}"), load_space(f"search_spaces.{module}:space")
    assert isinstance(network, Architecture) and isinstance(space, SearchSpace)
    return space.graph(network)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        # SqueezeNet and Xception are padded more than the originals, so only their parameters are the same.
        ("squeeze:squeezenet_1_0", 1_248_424, None),
        ("squeeze:squeezenet_1_1", 1_235_496, None),
        ("mobile:mobilenet_v1", 4_231_976, 568_740_352),
        ("mobile:mobilenet_v2", 3_504_872, 300_774_272),
        ("shuffle:shufflenet_v2", 2_278_604, 144_907_992),
        ("xception:xception", 22_855_952, None),
    ],
)
def test_networks_for_imagenet(name: str, params: int, macs: int | None) -> None:
    graph = graph_of(name)
    cost = Cost.total(graph)
    assert cost.params == params
    assert macs is None or cost.macs == macs
    assert (graph.num_classes, len(graph.exits), Cost.of(graph)) == (1000, 1, cost)


def test_msdnet_for_cifar() -> None:
    graph = graph_of("msdnet:msdnet_cifar10")
    assert Cost.total(graph).params == 2_986_690
    published = [13.52e6, 20.10e6, 28.36e6, 34.30e6, 41.13e6, 47.16e6, 52.74e6]
    assert [total_ops(graph, "fvcore", exit) for exit in range(7)] == pytest.approx(published, abs=5e3)


def test_msdnet_with_steps_that_grow() -> None:
    """The README's recipe for budgeted batches on CIFAR-10, counted by fvcore on the official module."""
    recipe = {**dict(msdnet_cifar10.choices), "growth": 6, "base": 1, "step_mode": "lin_grow", "step": 1}
    graph = msdnet.graph(msdnet.architecture({**recipe, "blocks": 5}))
    assert Cost.total(graph).params == pytest.approx(2.02e6, rel=1e-3)
    published = [5.99e6, 10.61e6, 19.58e6, 32.95e6, 46.69e6]
    assert [total_ops(graph, "fvcore", exit) for exit in range(5)] == pytest.approx(published, abs=5e3)


def test_convolutions_of_msdnet_can_be_cheaper() -> None:
    macs = {
        kind: Cost.of(msdnet.graph(msdnet.architecture({**dict(msdnet_cifar10.choices), "conv": kind}))).macs
        for kind in CONVS
    }
    assert sorted(macs, key=macs.__getitem__) == ["separable", "grouped", "low_rank", "standard"]


def test_an_id_is_the_same_in_every_process_and_release() -> None:
    # Stored studies are keyed by it: a change of ids must be deliberate.
    assert graph_of("mobile:mobilenet_v2").id == "7d3353211ccb6184a44703b12b25c87d"


def test_squeezenet_1_1_is_the_cheaper_one() -> None:
    """Version 1.1 is said to need 2.4 times less computation (https://github.com/forresti/SqueezeNet)."""
    one, other = (Cost.of(graph_of(f"squeeze:squeezenet_1_{version}")).macs for version in (0, 1))
    assert one / other == pytest.approx(2.4, rel=0.1)


@pytest.mark.parametrize(
    ("name", "convolutions", "linear"),
    [("mobile:mobilenet_v1", 27, 1), ("mobile:mobilenet_v2", 52, 1), ("xception:xception", 74, 1)],
)
def test_depths(name: str, convolutions: int, linear: int) -> None:
    kinds = [type(layer.op) for layer in graph_of(name).layers]
    assert (kinds.count(Conv2d), kinds.count(Linear)) == (convolutions, linear)
