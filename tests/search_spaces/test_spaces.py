"""Every space builds networks for any data, remembers them rightly and puts light exits where it is told."""

import json
import math
from importlib import import_module
from random import Random

import pytest

from nas.cost import Cost
from nas.graph import Graph
from nas.net import Net
from nas.op import Shape
from nas.space import Architecture, Candidate, SearchSpace, load_space
from search_spaces import anytime
from search_spaces.chain import COARSEST, ask_strides

SPACES = ("anytime", "lowrank", "mixed", "mobile", "msdnet", "shuffle", "squeeze", "tiny", "xception")
SHAPES: list[Shape] = [
    (1, 8, 8),
    (1, 28, 28),
    (3, 32, 32),
    (3, 35, 61),
    (3, 1, 1),
    (2, 3, 200),
    (3, 224, 224),
]
each_space = pytest.mark.parametrize("name", SPACES)


def space_of(name: str) -> SearchSpace:
    space = load_space(f"search_spaces.{name}:space")
    assert isinstance(space, SearchSpace)
    return space


def candidates(space: SearchSpace, count: int) -> list[Candidate]:
    rng = Random(0)
    return [space.candidate(lambda name, options: rng.choice(options)) for _ in range(count)]


@each_space
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_networks_of_any_size(name: str, shape: Shape) -> None:
    for candidate in candidates(space_of(name).at(shape, 7), 12):
        graph = candidate.graph
        assert (graph.input_shape, graph.num_classes) == (shape, 7)
        assert all(graph.layers[exit].shape == (7,) for exit in graph.exits)
        costs = [Cost.of(graph, exit) for exit in range(len(graph.exits))]
        assert all(cost.macs > 0 < cost.peak_bytes for cost in costs)


@each_space
def test_memory_changes_nothing(name: str) -> None:
    space = space_of(name).at((3, 33, 20), 5)
    for candidate in candidates(space, 15):
        without_memory = SearchSpace(import_module(f"search_spaces.{name}").build)
        assert without_memory.graph(candidate.architecture) == candidate.graph


@each_space
def test_architectures_survive_being_stored(name: str) -> None:
    space = space_of(name).at((3, 32, 32), 10)
    for candidate in candidates(space, 10):
        text = json.dumps(candidate.architecture.to_json())
        stored = Architecture.from_json(json.loads(text))
        assert stored == candidate.architecture == space.architecture(dict(stored.choices))
        assert load_space(stored.space) is space_of(name)


@each_space
def test_mutations_change_one_choice(name: str) -> None:
    space, rng = space_of(name), Random(0)
    for candidate in candidates(space, 10):
        neighbor = space.mutate(candidate.architecture, rng)
        before, after = dict(candidate.architecture.choices), dict(neighbor.choices)
        changed = [key for key in before.keys() & after.keys() if before[key] != after[key]]
        assert len(changed) == 1
        assert space.graph(neighbor).id == neighbor.id


@each_space
def test_exits_are_choices(name: str) -> None:
    counts = {len(candidate.graph.exits) for candidate in candidates(space_of(name), 40)}
    assert max(counts) >= 3 and len(counts) >= 3


def early_head_macs(graph: Graph) -> int:
    heads = [segment for segment in graph.segments()[:-1] if segment.name.startswith("head")]
    return sum(graph.layers[position].macs for segment in heads for position in segment.nodes)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)], ids=str)
@pytest.mark.parametrize("name", ["anytime", "lowrank", "mixed", "mobile", "shuffle", "squeeze", "xception"])
def test_early_heads_are_light(name: str, shape: Shape) -> None:
    for candidate in candidates(space_of(name).at(shape, 10), 60):
        assert early_head_macs(candidate.graph) <= 0.1 * Cost.total(candidate.graph).macs


@each_space
def test_later_exits_cost_more(name: str) -> None:
    for candidate in candidates(space_of(name), 20):
        graph = candidate.graph
        trunks = [segment for segment in graph.segments() if segment.name.startswith("trunk")]
        macs = [sum(graph.layers[position].macs for position in trunk.nodes) for trunk in trunks]
        assert all(value > 0 for value in macs[:-1])
        assert Cost.of(graph).macs == max(Cost.of(graph, exit).macs for exit in range(len(trunks)))


@pytest.mark.parametrize("where", ["late", "spread", "early"])
def test_images_are_halved_until_they_are_coarse(where: str) -> None:
    for size in [*range(1, 70), 224, 299]:
        strides = ask_strides(Net(lambda name, options: where), (3, size, size + 5), 5)
        halvings = sum(stride == 2 for stride in strides)
        assert set(strides) <= {1, 2}
        if where != "spread":
            assert list(strides) == sorted(strides, reverse=where == "early")
        left = math.ceil(size / 2**halvings)
        assert left >= min(size, COARSEST)
        assert halvings == 5 or math.ceil(size / 2 ** (halvings + 1)) < COARSEST


def test_networks_with_their_last_exit_alone() -> None:
    """Of the same choices as with all exits, and as dear."""
    for candidate in candidates(anytime.space, 10):
        whole = anytime.whole.graph(anytime.whole.architecture(dict(candidate.architecture.choices)))
        assert len(whole.exits) == 1
        assert Cost.of(whole).macs == Cost.of(candidate.graph).macs
