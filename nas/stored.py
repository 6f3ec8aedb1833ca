"""Networks on disk, in formats that can hold no code: a graph as JSON, named arrays as safetensors.

Safetensors: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nas import ops
from nas.errors import MissingExtraError, SpaceError
from nas.files import whole_file
from nas.graph import Graph
from nas.op import Layer, Op

__all__ = ["graph_from_json", "graph_to_json", "read_tensors", "write_tensors"]

Tensors = Mapping[str, NDArray[Any]]


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """The graph as JSON: nodes with names, ops and positions of what they read; exits; where heads start."""
    return {
        "nodes": [
            {
                "name": node.name,
                "op": _op_name(type(node.op)),
                "settings": {field.name: _plain(getattr(node.op, field.name)) for field in _fields(node.op)},
                "inputs": list(node.inputs),
            }
            for node in graph.nodes
        ],
        "exits": list(graph.exits),
        "head_starts": list(graph.head_starts),
    }


def graph_from_json(values: Mapping[str, Any]) -> Graph:
    """The graph that `graph_to_json` stored. An op of your own is imported from the module stored with it."""
    try:
        graph = _read_graph(values)
        whole = json.dumps(graph_to_json(graph), sort_keys=True) == json.dumps(values, sort_keys=True)
    except SpaceError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _damaged(repr(error)) from None
    if not whole:  # such as a node that no exit needs, or 3.0 for 3
        raise _damaged("more or other values than its network")
    return graph


def write_tensors(path: Path, tensors: Tensors, kind: str, values: Mapping[str, Any]) -> None:
    """Write arrays and JSON values to one safetensors file of format `kind`, whole or not at all."""
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise MissingExtraError.of("safetensors", "search") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {"format": kind} | {key: json.dumps(value) for key, value in values.items()}
    with whole_file(path) as part:
        save_file(dict(tensors), part, texts)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and JSON values that `write_tensors` wrote."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtraError.of("safetensors", "search") from error
    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            found = texts.pop("format", None)
            if found != kind:
                raise SpaceError(
                    f"{path} must have format {kind!r}, but has {found!r}; give a file of nas-dial"
                )
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
            return tensors, {key: json.loads(text) for key, text in texts.items()}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise SpaceError(
            f"{path} must be a whole safetensors file, but got: {error}; save it again"
        ) from None


def _read_graph(values: Mapping[str, Any]) -> Graph:
    layers: list[Layer] = []
    offsets: list[tuple[int, ...]] = []
    for position, node in enumerate(values["nodes"]):
        inputs = _positions(node["inputs"], position)
        op = _read_op(node["op"], node["settings"])
        if isinstance(op, ops.Input) != (position == 0) or bool(inputs) == (position == 0):
            raise _damaged(f"{node['op']} reading {list(inputs)} at position {position}")
        layers.append(Layer.of(op, tuple(layers[source].shape for source in inputs)))
        offsets.append(tuple(position - source for source in inputs))
    exits = _positions(values["exits"], len(layers))
    starts = _positions(values["head_starts"], len(layers))
    heads = [range(start, exit + 1) for start, exit in zip(starts, exits, strict=True)]
    if not heads or not all(heads) or len({layers[exit].shape for exit in exits}) > 1:
        raise _damaged(f"exits {exits} with heads from {starts}")
    return Graph.of_layers(layers, offsets, heads, [str(node["name"]) for node in values["nodes"]])


def _positions(values: Sequence[int], stop: int) -> tuple[int, ...]:
    for value in values:
        if type(value) is not int or not 0 <= value < stop:
            raise _damaged(f"position {value!r} where 0 to {stop - 1} stand")
    return tuple(values)


def _read_op(name: str, settings: Mapping[str, Any]) -> Op:
    module_name, _, attribute = name.rpartition(":")
    try:
        kind = getattr(importlib.import_module(module_name) if module_name else ops, attribute)
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, Op) and is_dataclass(kind)):
        raise SpaceError(
            f"an op must be in nas.ops or named module:Class, but {name!r} is not found; "
            "make its module importable"
        )
    return kind(**{key: _frozen(value) for key, value in settings.items()})


def _op_name(kind: type[Op]) -> str:
    if "." in kind.__qualname__:
        raise SpaceError(
            f"a stored op must stand at the top of its module, but {kind.__qualname__} does not; move it"
        )
    return kind.__name__ if kind.__module__ == ops.__name__ else f"{kind.__module__}:{kind.__qualname__}"


def _fields(op: Op) -> Sequence[Any]:
    assert is_dataclass(op), "an Op is a dataclass"
    return fields(op)


def _plain(value: Any) -> Any:
    """JSON has lists only."""
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    """Settings are hashed, so lists become tuples."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _damaged(found: str) -> SpaceError:
    return SpaceError(f"a stored graph must be as graph_to_json wrote it, but has {found}; store it again")
