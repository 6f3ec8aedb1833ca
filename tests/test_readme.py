"""What the README shows can be typed."""

import re
import shlex
from pathlib import Path

import pytest

from nas.cli.entry import load_commands, make_parser

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(code: str) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    assert "space" in names


def test_commands_are_understood_and_all_are_named() -> None:
    commands = load_commands()
    shown = [shlex.split(line) for line in re.findall(r"^nas (.*)$", README, re.MULTILINE)]
    assert len(shown) >= 4
    for words in shown:
        assert make_parser(commands).parse_args(words).command == words[0]
    assert all(f"nas {name}" in README for name in commands)
