"""Holds `nas cost` against the values that it shows and against other tools."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cost import Cost
from nas.space import Architecture, load_space

Nas = Callable[..., str]


def test_json_has_every_exit_and_the_total(nas: Nas) -> None:
    networks = json.loads(nas("cost", "user_spaces:space", "--sample", 3, "--input", "3,9,7", "--json"))[
        "networks"
    ]
    space = load_space("user_spaces:space").at((3, 9, 7), 10)
    assert len(networks) == 3
    for network in networks:
        graph = space.graph(Architecture.from_json(network["architecture"]))
        assert network["id"] == graph.id
        found = {entry["exit"]: entry for entry in network["exits"]} | {"all": network["total"]}
        costs = {0: Cost.of(graph, 0), 1: Cost.of(graph, 1), "all": Cost.total(graph)}
        for exit, cost in costs.items():
            entry = {key: value for key, value in found[exit].items() if key != "exit"}
            assert entry == cost.to_json() | {"flops": 2 * cost.macs}
        assert network["macs"] == costs[1].macs


def test_the_table_says_the_same_as_the_json(nas: Nas) -> None:
    command = ("cost", "user_spaces:space", "--sample", 2, "--seed", 5, "--data", "digits")
    lines = [line.split() for line in nas(*command).splitlines()[1:]]
    expected = []
    for network in json.loads(nas(*command, "--json"))["networks"]:
        for name, entry in [*enumerate(network["exits"]), ("all", network["total"])]:
            numbers = (entry[key] for key in ("macs", "flops", "params", "peak_bytes"))
            expected.append([network["id"][:12], str(name), *(f"{number:,}" for number in numbers)])
    assert lines == expected


def test_columns_of_the_table_are_aligned(nas: Nas) -> None:
    lines = nas("cost", "user_spaces:space", "--sample", 4).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(line[lines[0].index("MACs") - 1] != "," for line in lines)


def test_published_networks_and_files_have_their_own_shape(nas: Nas, tmp_path: Path) -> None:
    (network,) = json.loads(nas("cost", "search_spaces.squeeze:squeezenet_1_1", "--json"))["networks"]
    assert network["params"] == 1_235_496
    file = tmp_path / "net.json"
    file.write_text(json.dumps(network["architecture"]))
    (again,) = json.loads(nas("cost", file, "--json"))["networks"]
    assert again == network
    (smaller,) = json.loads(nas("cost", file, "--input", "3,64,64", "--json"))["networks"]
    assert smaller["params"] == network["params"]
    assert smaller["macs"] < network["macs"]
    (fewer,) = json.loads(nas("cost", file, "--classes", 10, "--json"))["networks"]
    assert fewer["params"] == network["params"] - 990 * 513


@pytest.mark.parametrize("text", ["", "[]", "{", '{"space": "user_spaces:space"}'])
def test_a_damaged_file_is_misuse(nas: Nas, tmp_path: Path, text: str) -> None:
    file = tmp_path / "net.json"
    file.write_text(text)
    nas("cost", file, code=2)


def test_other_tools_count_the_same(nas: Nas) -> None:
    command = ("cost", "user_spaces:space", "--compare")
    (network,) = json.loads(nas(*command, "--json"))["networks"]
    assert len(network["compare"]) == 4
    for count in network["compare"].values():
        assert count["counted"] == count["ours"] > 0
    assert f"{network['compare']['thop, total']['counted']:,}" in nas(*command)
