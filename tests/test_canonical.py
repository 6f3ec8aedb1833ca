"""Ids of networks are equal exactly when a search through all numberings says that the networks are."""

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, permutations, product
from random import Random

import pytest

from nas.canonical import Structure, canonical_id, canonical_order

IMAGE, CONV, RELU, ADD, CONCAT = range(5)
TOKENS = [bytes([kind]) * 16 for kind in range(5)]
Nodes = list[tuple[int, tuple[int, ...]]]
"""Kind and operands of each node, the image first."""


def structure(nodes: Nodes, exits: Sequence[int]) -> Structure:
    offsets = [tuple(position - source for source in reads) for position, (_, reads) in enumerate(nodes)]
    return Structure(
        tokens=[TOKENS[kind] for kind, _ in nodes],
        offsets=offsets,
        swappable={position for position, (kind, _) in enumerate(nodes) if kind == ADD},
        weighted=[position for position, (kind, _) in enumerate(nodes) if kind == CONV],
        exits=exits,
    )


def merged(nodes: Nodes, exits: Sequence[int]) -> tuple[Nodes, list[int]]:
    """Nodes without weights that do the same to the same operands are one."""
    kept: Nodes = []
    new: list[int] = []
    for kind, reads in nodes:
        moved = tuple(new[source] for source in reads)
        node = (kind, tuple(sorted(moved)) if kind == ADD else moved)
        if kind == CONV or node not in kept:
            new.append(len(kept))
            kept.append(node)
        else:
            new.append(kept.index(node))
    return kept, [new[exit] for exit in exits]


def smallest_numbering(nodes: Nodes, exits: Sequence[int]) -> object:
    """The smallest of all descriptions that differ only in how nodes are numbered: equal when isomorphic."""
    nodes, exits = merged(nodes, exits)
    found = []
    for order in permutations(range(1, len(nodes))):
        number = (0, *order)
        listed = []
        for position, (kind, reads) in enumerate(nodes):
            operands = tuple(number[source] for source in reads)
            listed.append((number[position], kind, tuple(sorted(operands)) if kind == ADD else operands))
        found.append((sorted(listed), [number[exit] for exit in exits]))
    return repr(min(found))


def sinks(nodes: Nodes) -> list[int]:
    return sorted(set(range(len(nodes))) - {source for _, reads in nodes for source in reads})


def every_network(size: int, kinds: Sequence[int]) -> Iterator[Nodes]:
    """All networks of convolutions and of joins of the kinds."""
    choices: list[Nodes] = []
    for position in range(1, size + 1):
        before = range(position)
        made = [(CONV, (source,)) for source in before]
        if ADD in kinds:
            made += [(ADD, pair) for pair in combinations_with_replacement(before, 2)]
        if CONCAT in kinds:
            made += [(CONCAT, pair) for pair in product(before, repeat=2)]
        choices.append(made)
    for nodes in product(*choices):
        yield [(IMAGE, ()), *nodes]


def random_network(rng: Random, size: int) -> Nodes:
    nodes: Nodes = [(IMAGE, ())]
    for position in range(1, size + 1):
        kind = rng.choice([CONV, CONV, RELU, ADD, CONCAT])
        recent = range(max(0, position - 3), position)
        nodes.append((kind, tuple(rng.choices(recent, k=1 + (kind in (ADD, CONCAT))))))
    return nodes


def rewritten(nodes: Nodes, exits: Sequence[int], rng: Random) -> tuple[Nodes, list[int]]:
    """The same network written in another order, with the operands of sums swapped."""
    new: dict[int, int] = {}
    listed: Nodes = []
    while len(new) < len(nodes):
        ready = [p for p, (_, reads) in enumerate(nodes) if p not in new and all(r in new for r in reads)]
        position = rng.choice(ready)
        kind, reads = nodes[position]
        operands = [new[source] for source in reads]
        if kind == ADD:
            rng.shuffle(operands)
        new[position] = len(listed)
        listed.append((kind, tuple(operands)))
    return listed, [new[exit] for exit in exits]


def assert_ids_tell_apart(networks: Iterator[tuple[Nodes, list[int]]], at_least: int) -> None:
    ids: dict[str, object] = {}
    for nodes, exits in networks:
        form = smallest_numbering(nodes, exits)
        assert ids.setdefault(canonical_id(structure(nodes, exits)), form) == form, (nodes, exits)
    assert len(set(ids.values())) == len(ids) >= at_least


@pytest.mark.parametrize(("kind", "at_least"), [(ADD, 400), (CONCAT, 1200)])
def test_all_networks_of_four_nodes(kind: int, at_least: int) -> None:
    assert_ids_tell_apart(((nodes, sinks(nodes)) for nodes in every_network(4, [kind])), at_least=at_least)


def test_all_exits_of_networks_of_three_nodes() -> None:
    def networks() -> Iterator[tuple[Nodes, list[int]]]:
        for nodes in every_network(3, [ADD, CONCAT]):
            inner = sorted(set(range(1, 4)) - set(sinks(nodes)))
            for extra in [[], *([position] for position in inner)]:
                for exits in permutations(sinks(nodes) + extra):
                    yield nodes, list(exits)

    assert_ids_tell_apart(networks(), at_least=1000)


def test_random_networks_of_six_nodes() -> None:
    def networks() -> Iterator[tuple[Nodes, list[int]]]:
        rng = Random(0)
        for _ in range(30):
            nodes = random_network(rng, 6)
            exits = sinks(nodes)
            rng.shuffle(exits)
            yield nodes, exits
            yield rewritten(nodes, exits, rng)

    assert_ids_tell_apart(networks(), at_least=25)


def test_rewriting_large_networks_changes_nothing() -> None:
    rng = Random(1)
    for _ in range(60):
        nodes = random_network(rng, 60)
        again, exits = rewritten(nodes, sinks(nodes), rng)
        assert canonical_id(structure(again, exits)) == canonical_id(structure(nodes, sinks(nodes)))


def test_exits_of_equal_branches_are_told_apart() -> None:
    heads: Nodes = [(CONV, (1,)), (CONV, (1,)), (CONV, (2,)), (CONV, (2,))]
    nodes: Nodes = [(IMAGE, ()), (CONV, (0,)), (CONV, (0,)), *heads]
    ids = {exits: canonical_id(structure(nodes, exits)) for exits in permutations(range(3, 7))}
    assert ids[3, 4, 5, 6] == ids[5, 6, 3, 4] == ids[4, 3, 6, 5]
    assert len({ids[3, 4, 5, 6], ids[3, 5, 4, 6], ids[3, 5, 6, 4]}) == 3 == len(set(ids.values()))


def test_the_order_depends_on_structure_only() -> None:
    rng = Random(2)
    for _ in range(200):
        nodes = random_network(rng, 8)
        exits = sinks(nodes)
        first, second = (_listed(*network) for network in ((nodes, exits), rewritten(nodes, exits, rng)))
        assert first == second, (nodes, exits)


def _listed(nodes: Nodes, exits: Sequence[int]) -> list[object]:
    """What each weighted node reads, in canonical order; weighted nodes are named by their place in it."""
    names: dict[int, object] = {0: "image"}
    listed: list[object] = []
    order = canonical_order(structure(nodes, exits))
    assert sorted(order) == list(range(len(nodes))) and order[0] == 0
    for position in order[1:]:
        kind, reads = nodes[position]
        operands = [names[source] for source in reads]
        listed += [operands] if kind == CONV else []
        named = (kind, sorted(operands, key=repr) if kind == ADD else operands)
        names[position] = len(listed) if kind == CONV else named
    return listed
