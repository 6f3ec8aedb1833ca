"""A graph keeps what its exits need, falls into segments that run in order, and is known by its structure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import final

import pytest

from nas.canonical import canonical_id, quick_id
from nas.choices import Option
from nas.errors import SpaceError
from nas.graph import Graph
from nas.layers import activation, batch_norm, concat, conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.op import Op, Shape
from nas.ops import Add, Conv2d, Dropout, Input, MaxPool


def first(name: str, options: Sequence[Option]) -> Option:
    return options[0]


def head(x: Feature, *earlier: Feature) -> Feature:
    logits = linear(global_avg_pool(x), 4)
    for feature in earlier:
        logits = logits + feature
    return logits


def network(write: Callable[[Net, Feature], object]) -> Graph:
    net = Net(first)
    write(net, net.input((4, 6, 6)))
    return net.graph()


def random_graph(rng: Random) -> Graph:
    """Features read anywhere later or never, and up to five exits, some reading an earlier one's logits."""

    def write(net: Net, x: Feature) -> None:
        features, logits = [x], []
        exits = {rng.randrange(12) for _ in range(4)} | {11}
        for position in range(12):
            x, y = rng.choice(features[-4:]), rng.choice(features)
            made = rng.choice([conv(x, 4), x + y, activation(x), conv(concat(x, y), 4), batch_norm(x)])
            features.append(made)
            if position in exits:
                logits.append(net.exit(head, made, *rng.sample(logits, rng.randint(0, len(logits)))))

    return network(write)


GRAPHS = [random_graph(Random(seed)) for seed in range(60)]
each_graph = pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.id[:6])


def needed(graph: Graph, exit: int) -> set[int]:
    """Positions that the logits of an exit depend on."""
    found: set[int] = set()
    open_positions = [graph.exits[exit]]
    while open_positions:
        position = open_positions.pop()
        if position not in found:
            found.add(position)
            open_positions += graph.nodes[position].inputs
    return found


@each_graph
def test_every_node_is_needed_and_knows_by_whom(graph: Graph) -> None:
    sets = [needed(graph, exit) for exit in range(len(graph.exits))]
    for position, feeds in enumerate(graph.feeds):
        assert feeds == sum(1 << exit for exit, positions in enumerate(sets) if position in positions) > 0
    for position, node in enumerate(graph.nodes):
        assert all(source < position for source in node.inputs)
        assert node.layer.in_shapes == tuple(graph.nodes[source].shape for source in node.inputs)


@each_graph
def test_chains_hold_all_nodes_and_nothing_joins_or_leaves_within_one(graph: Graph) -> None:
    places = iter(range(len(graph.nodes)))
    chains = [[next(places) for _ in chain.layers] for chain in graph.chains]
    assert next(places, None) is None
    assert [layer for chain in graph.chains for layer in chain.layers] == [node.layer for node in graph.nodes]
    readers = Counter(source for node in graph.nodes for source in node.inputs)
    for chain, operands in zip(chains, graph.operands, strict=True):
        first = graph.nodes[chain[0]]
        assert first.inputs == tuple(chains[operand][-1] for operand in operands)
        for before, after in pairwise(chain):
            assert graph.nodes[after].inputs == (before,)
            assert readers[before] == 1 and before not in graph.exits


@each_graph
def test_chains_add_up_their_layers(graph: Graph) -> None:
    for chain in graph.chains:
        assert chain.macs == sum(layer.macs for layer in chain.layers)
        assert chain.params == sum(layer.params for layer in chain.layers)
        assert chain.text == b"".join(layer.token for layer in chain.layers)


@each_graph
def test_the_quick_id_is_the_whole_one(graph: Graph) -> None:
    ends = list(accumulate(chain.length for chain in graph.chains))
    exits = [ends.index(position + 1) for position in graph.exits]
    assert quick_id(graph.chains, graph.operands, exits) in (None, canonical_id(graph._structure))


@each_graph
def test_segments_run_in_order(graph: Graph) -> None:
    segments = {segment.name: segment for segment in graph.segments()}
    exits = range(len(graph.exits))
    assert list(segments) == [f"{kind}_{exit}" for exit in exits for kind in ("trunk", "head")]
    placed = [position for segment in segments.values() for position in segment.nodes]
    assert sorted(placed) == list(range(len(graph.nodes)))
    for exit in exits:
        run = [segments[f"trunk_{trunk}"] for trunk in range(exit + 1)] + [segments[f"head_{exit}"]]
        given: set[int] = set()
        done: set[int] = set()
        for segment in run:
            assert set(segment.inputs) <= given
            for position in segment.nodes:
                reads = set(graph.nodes[position].inputs)
                assert reads <= {*segment.inputs, *segment.nodes} & (done | given)
                done.add(position)
            own_logits = {graph.exits[exit]} & {*segment.inputs, *segment.nodes}
            assert set(segment.outputs) <= {*segment.nodes} | own_logits
            given |= set(segment.outputs)
        assert graph.exits[exit] in run[-1].outputs
        assert needed(graph, exit) <= done
        assert done == {p for p, feeds in enumerate(graph.feeds) if graph.runs(feeds, exit)}


@each_graph
def test_segments_keep_and_hand_over_no_more_than_needed(graph: Graph) -> None:
    segments = graph.segments()
    last = len(graph.exits) - 1
    for index, segment in enumerate(segments):
        exit, is_head = divmod(index, 2)
        for position in segment.nodes:
            users = [other for other in range(last + 1) if position in needed(graph, other)]
            assert users[0] == exit and (len(users) == 1 if is_head else len(users) > 1 or exit == last)
        reads = {source for position in segment.nodes for source in graph.nodes[position].inputs}
        logits = {graph.exits[exit]} if is_head else set()
        assert set(segment.inputs) == (reads | logits) - set(segment.nodes)
        read_later = {source for later in segments[index + 1 :] for source in later.inputs}
        assert set(segment.outputs) == read_later & set(segment.nodes) | logits


def test_what_no_exit_needs_is_dropped() -> None:
    def with_dead_branches(net: Net, x: Feature) -> None:
        conv(x, 100, name="dead")
        y = conv(x, 4, name="kept")
        batch_norm(y, name="dead")

        def wasteful(y: Feature) -> Feature:
            linear(global_avg_pool(y, name="dead"), 9, name="dead")
            return head(y)

        net.exit(wasteful, y)
        activation(y, name="dead")

    lean = network(lambda net, x: net.exit(head, conv(x, 4, name="kept")))
    assert network(with_dead_branches) == lean
    assert not [node.name for node in lean.nodes if "dead" in node.name]


@final
@dataclass(frozen=True)
class Constant(Op):
    """An op that reads nothing."""

    def out_shape(self, *inputs: Shape) -> Shape:
        return (4, 2, 2)


def test_a_network_reads_its_image() -> None:
    with pytest.raises(SpaceError, match="must read its image, but no exit depends on it"):
        network(lambda net, x: net.exit(head, net.apply(Constant(), name="constant")))


def branches(order: str, *, swapped: bool = False, names: str = "") -> Graph:
    """Two different branches, written in either order, joined by a sum."""

    def write(net: Net, x: Feature) -> None:
        made = {
            letter: conv(x, 4, kernel_size={"a": 1, "b": 3}[letter], name=f"{names}{letter}")
            for letter in order
        }
        a, b = made["a"], made["b"]
        net.exit(head, b + a if swapped else a + b, name=f"{names}exit")

    return network(write)


def test_ids_see_neither_names_nor_writing_order() -> None:
    plain = branches("ab")
    assert {branches(order, swapped=swapped).id for order in ("ab", "ba") for swapped in (0, 1)} == {plain.id}
    assert branches("ab", names="other_").id == plain.id and branches("ab", names="other_") != plain
    assert branches("ab") == plain and hash(branches("ab")) == hash(plain)
    assert [
        branches("ba", swapped=True).nodes[p].layer for p in branches("ba", swapped=True).canonical_order
    ] == [plain.nodes[p].layer for p in plain.canonical_order]


def test_ids_see_every_setting() -> None:
    settings: list[Op] = [
        Conv2d(4),
        Conv2d(4, bias=True),
        Conv2d(4, groups=2),
        Conv2d(4, (3, 3), padding=(1, 1)),
        Conv2d(4, (1, 3), padding=(0, 1)),
        Conv2d(4, (3, 1), padding=(1, 0)),
        Conv2d(4, stride=(2, 1)),
        Conv2d(4, stride=(1, 2)),
        Conv2d(8),
        Dropout(0.1),
        Dropout(0.2),
        MaxPool(3, 1, 1),
        MaxPool(5, 1, 2),
    ]
    ids = {
        network(lambda net, x, op=op: net.exit(head, net.apply(op, x, name="layer"))).id for op in settings
    }
    assert len(ids) == len(settings)


def test_ids_see_who_shares_what() -> None:
    def shared(net: Net, x: Feature) -> None:
        y = conv(x, 4)
        net.exit(head, concat(activation(y), y))

    def doubled(net: Net, x: Feature) -> None:
        net.exit(head, concat(activation(conv(x, 4)), conv(x, 4)))

    def other_order(net: Net, x: Feature) -> None:
        y = conv(x, 4)
        net.exit(head, concat(y, activation(y)))

    def computed_twice(net: Net, x: Feature) -> None:  # without weights of its own: the same network
        y = conv(x, 4)
        net.exit(head, concat(activation(y), activation(y)))

    def computed_once(net: Net, x: Feature) -> None:
        y = activation(conv(x, 4))
        net.exit(head, concat(y, y))

    ids = [network(write).id for write in (shared, doubled, other_order, computed_twice, computed_once)]
    assert ids[3] == ids[4] and len(set(ids)) == 4


def test_ids_see_the_order_of_exits() -> None:
    def exits(*kernel_sizes: int) -> Graph:
        def write(net: Net, x: Feature) -> None:
            for kernel_size in kernel_sizes:
                net.exit(head, conv(x, 4, kernel_size=kernel_size))

        return network(write)

    assert len({exits(1, 3).id, exits(3, 1).id, exits(1).id, exits(1, 1).id}) == 4


def test_graphs_that_cut_their_last_head_elsewhere_are_not_equal() -> None:
    def write(net: Net, x: Feature, *, early: bool) -> None:
        x = conv(x, 4)
        if early:
            net.exit(lambda x: head(activation(x)), x)
        else:
            net.exit(head, activation(x))

    early, late = (network(lambda net, x, early=early: write(net, x, early=early)) for early in (True, False))
    assert early.id == late.id and early != late
    assert early.segments()[0].nodes == late.segments()[0].nodes[:-1]


def test_a_graph_says_what_it_is() -> None:
    graph = network(lambda net, x: net.exit(head, x))
    assert repr(graph) == f"Graph(id={graph.id[:12]}, input=(4, 6, 6), nodes=4, exits=1)"
    assert (graph.input_shape, graph.num_classes, graph.nodes[0].op) == ((4, 6, 6), 4, Input((4, 6, 6)))
    assert graph != "graph" and Add.commutative
