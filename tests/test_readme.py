"""What the README shows can be typed."""

import re
import shlex
from pathlib import Path
from random import Random

import pytest

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.cli.entry import load_commands, make_parser
from nas.cost import Cost
from nas.export.entries import model_entry
from nas.model import Model
from search_spaces.tiny import space as tiny

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = tiny.at((1, 8, 8), 3).graph(tiny.at((1, 8, 8), 3).sample(Random(0)))
    entry = model_entry("net", Model(graph), Readout())
    levels = tuple(
        Level(model="net", exit=exit, accuracy=0, macs=Cost.of(graph, exit).macs)
        for exit in range(len(graph.exits))
    )
    bundle = Bundle(input_shape=(1, 8, 8), classes=("a", "b", "c"), models=(entry.model,), levels=levels)
    write_bundle("runs/f/bundle", bundle, entry.files)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    assert {"space", "answer"} & names.keys()


def test_commands_are_understood_and_all_are_named() -> None:
    commands = load_commands()
    shown = [shlex.split(line) for line in re.findall(r"^nas (.*)$", README, re.MULTILINE)]
    assert len(shown) >= 4
    for words in shown:
        assert make_parser(commands).parse_args(words).command == words[0]
    assert all(f"nas {name}" in README for name in commands)
