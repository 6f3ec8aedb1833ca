"""Show what networks cost, exit by exit.

That is MACs, FLOPs (2 per MAC), parameters and the peak of activation memory in bytes, for one image.
NETWORK is a search space or a published network, as module:attribute, or a JSON file with an architecture.
Exit k runs trunks 0 to k and head k; "all" runs every head. Exits count from 0.

Example:
  nas cost search_spaces.mobile:mobilenet_v2
  nas cost search_spaces.mobile:space --sample 5 --seed 0 --data digits --compare
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from random import Random
from typing import Any

from nas.cli.arguments import add_binding, add_json, natural, positive, read_binding
from nas.cli.output import write_json, write_table
from nas.cost import Cost
from nas.errors import SpaceError
from nas.graph import Graph
from nas.report.tables import Table
from nas.space import Architecture, SearchSpace, load_space

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("network", metavar="NETWORK", help="module:attribute, or a JSON file")
    parser.add_argument(
        "--sample", type=positive, metavar="N", help="networks drawn from a space (default 1)"
    )
    parser.add_argument("--seed", type=natural, help="what they are drawn by (default 0)")
    add_binding(parser)
    parser.add_argument("--compare", action="store_true", help="count with fvcore and thop too (needs torch)")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    networks = [_entry(*network, compare=arguments.compare) for network in _networks(arguments)]
    if arguments.json:
        write_json({"networks": networks})
        return
    write_table(_cost_table(networks))
    if arguments.compare:
        print()
        write_table(_comparison_table(networks))


def _networks(arguments: Namespace) -> list[tuple[Architecture, Graph]]:
    """The networks asked for, with their graphs, at the shape and classes asked for."""
    named = _load(arguments.network)
    space = load_space(named.space) if isinstance(named, Architecture) else named
    if not isinstance(space, SearchSpace):
        raise SpaceError(f"an architecture must name a search space, but {arguments.network} names {space}")
    _check_options(arguments, named)
    shape, classes = read_binding(arguments, named)
    space = space.at(shape, classes)
    if isinstance(named, SearchSpace):
        rng = Random(arguments.seed or 0)
        architectures = [space.sample(rng) for _ in range(arguments.sample or 1)]
    elif (shape, classes) == (named.input_shape, named.num_classes):
        architectures = [named]  # whose stored id is then checked
    else:
        architectures = [_rebuilt(space, named)]
    return [(architecture, space.graph(architecture)) for architecture in architectures]


def _check_options(arguments: Namespace, named: SearchSpace | Architecture) -> None:
    """`SpaceError` for options that would come to nothing."""
    if isinstance(named, Architecture) and (arguments.sample, arguments.seed) != (None, None):
        raise SpaceError(
            f"what is sampled must be a space, but {arguments.network} is one network; "
            "leave out --sample and --seed, or name its space"
        )


def _rebuilt(space: SearchSpace, named: Architecture) -> Architecture:
    """The same choices at the shape and classes of the space."""
    try:
        return space.architecture(dict(named.choices))
    except SpaceError as error:
        raise SpaceError(
            "an architecture must fit the images, but the choices of this one, "
            f"made for {named.input_shape}, do not fit {space.input_shape}: {error}; "
            "give another shape, or name a space"
        ) from None


def _load(name: str) -> SearchSpace | Architecture:
    path = Path(name)
    if path.suffix != ".json":
        return load_space(name)
    try:
        return Architecture.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SpaceError(f"{path} must be a JSON file with an architecture, but got: {error}") from error


def _entry(architecture: Architecture, graph: Graph, *, compare: bool) -> dict[str, Any]:
    exits = [{"exit": exit} | _costs(Cost.of(graph, exit)) for exit in range(len(graph.exits))]
    entry = {
        "id": graph.id,
        "architecture": architecture.to_json(),
        **_costs(Cost.of(graph)),
        "exits": exits,
        "total": _costs(Cost.total(graph)),
    }
    if compare:
        from nas.cli.comparison import compare_counts

        entry["compare"] = compare_counts(graph)
    return entry


def _costs(cost: Cost) -> dict[str, int]:
    return cost.to_json() | {"flops": cost.flops}


def _cost_table(networks: list[dict[str, Any]]) -> Table:
    keys = ("macs", "flops", "params", "peak_bytes")
    rows = []
    for network in networks:
        rows += [(network["id"][:12], exit["exit"], *map(exit.get, keys)) for exit in network["exits"]]
        if len(network["exits"]) > 1:
            rows.append((network["id"][:12], "all", *map(network["total"].get, keys)))
    return Table.of(("network", "exit", "MACs", "FLOPs", "parameters", "peak bytes"), rows)


def _comparison_table(networks: list[dict[str, Any]]) -> Table:
    """Totals with all heads; the tools call MACs FLOPs, and add batch norm and pooling each in its way."""
    rows = []
    for network in networks:
        pairs = network["compare"].items()
        rows += [(network["id"][:12], what, count["counted"], count["ours"]) for what, count in pairs]
    return Table.of(("network", "all heads", "counted", "ours"), rows)
