"""Networks on disk: graphs read back equal, and nothing else is read."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from nas.errors import SpaceError
from nas.graph import Graph
from nas.layers import concat, conv, conv_norm_act, global_avg_pool, linear, max_pool
from nas.net import Feature, Net
from nas.op import Op, Shape
from nas.space import SearchSpace
from nas.stored import graph_from_json, graph_to_json, read_tensors, write_tensors


@dataclass(frozen=True)
class Rotate(Op):
    """An op of a user's own, with settings of several types."""

    turns: tuple[tuple[int, float], ...] = ((1, 0.5),)
    label: str | None = None

    def out_shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def build(net: Net, input_shape: Shape = (2, 9, 7), num_classes: int = 4) -> None:
    x = conv_norm_act(net.input(input_shape), 8, kernel_size=3, name="stem")
    for number in range(net.choice("stages", 1, 2, 3)):
        with net.scope(f"stage{number}"):
            y = conv(x, x.channels, kernel_size=(3, 1), groups=net.choice("groups", 1, 4), bias=True)
            x = concat(x + net.apply(Rotate(label="a"), y, name="rotate"), max_pool(x, stride=1))
            if net.choice("exit", False, True):
                net.exit(head, x, num_classes)
    net.exit(head, conv(x, 8), num_classes)


SPACE = SearchSpace(build, "tests:stored")


def sample(seed: int = 0) -> Graph:
    return SPACE.graph(SPACE.sample(Random(seed)))


@pytest.mark.parametrize("seed", range(20))
def test_a_graph_reads_back_equal(seed: int) -> None:
    graph = sample(seed)
    read = graph_from_json(json.loads(json.dumps(graph_to_json(graph))))
    assert read == graph
    assert [node.name for node in read.nodes] == [node.name for node in graph.nodes]
    assert read.segments() == graph.segments()


Change = Callable[[dict[str, Any]], object]
DAMAGES: dict[str, Change] = {
    "no nodes": lambda values: values.pop("nodes"),
    "no exits": lambda values: values.update(exits=[], head_starts=[]),
    "exits that are no list": lambda values: values.update(exits=3),
    "an exit too many": lambda values: values["exits"].append(3),
    "an exit beyond the end": lambda values: values.update(exits=[99] * len(values["exits"])),
    "a head that starts after its exit": lambda values: values.update(exits=[5], head_starts=[7]),
    "a dead end": lambda values: values.update(exits=[5], head_starts=[5]),
    "an operand that comes later": lambda values: values["nodes"][2].update(inputs=[7]),
    "an operand counted from the end": lambda values: values["nodes"][4].update(inputs=[-1]),
    "a node that reads nothing": lambda values: values["nodes"][3].update(inputs=[]),
    "no image": lambda values: values["nodes"].pop(0),
    "an unknown op": lambda values: values["nodes"][2].update(op="Conv9d"),
    "what is no op": lambda values: values["nodes"][2].update(op="math"),
    "what is no op of a module": lambda values: values["nodes"][2].update(op="pathlib:Path"),
    "an unknown module": lambda values: values["nodes"][2].update(op="nowhere:Conv"),
    "the abstract op": lambda values: values["nodes"][2].update(op="Op"),
    "an unknown setting": lambda values: values["nodes"][2]["settings"].update(color=3),
    "a missing setting": lambda values: values["nodes"][2]["settings"].pop("out_channels"),
    "an impossible setting": lambda values: values["nodes"][2]["settings"].update(groups=5),
    "a setting of another type": lambda values: values["nodes"][2]["settings"].update(out_channels="8"),
    "a number that is not whole": lambda values: values["nodes"][2]["settings"].update(stride=[1.0, 1.0]),
    "names alike": lambda values: values["nodes"][2].update(name="image"),
    "more than a graph": lambda values: values.update(weights=[]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_stored_graph(damage: str) -> None:
    values = graph_to_json(sample())
    DAMAGES[damage](values)
    with pytest.raises(SpaceError) as caught:
        graph_from_json(values)
    assert "\n" not in str(caught.value)


def test_an_op_that_could_not_be_found_again() -> None:
    @dataclass(frozen=True)
    class Local(Op):
        def out_shape(self, *inputs: Shape) -> Shape:
            return inputs[0]

    def build(net: Net, input_shape: Shape = (2, 9, 7), num_classes: int = 4) -> None:
        net.exit(head, net.apply(Local(), net.input(input_shape), name="local"), num_classes)

    space = SearchSpace(build, "tests:local")
    with pytest.raises(SpaceError, match="a stored op must stand at the top of its module"):
        graph_to_json(space.graph(space.sample(Random(0))))


def test_tensors_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "t.safetensors"
    tensors = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "scalar": np.array(7)}
    values = {"epochs": [{"loss": 0.1}], "none": None}
    write_tensors(path, tensors, "kind-1", values)
    read, found = read_tensors(path, "kind-1")
    np.testing.assert_equal(read, tensors)
    assert found == values


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": np.zeros(2)}, "kind-1", {})
    with pytest.raises(TypeError):
        write_tensors(path, {"a": np.ones(2)}, "kind-1", {"not JSON": object()})
    assert read_tensors(path, "kind-1")[0]["a"].tolist() == [0, 0]
