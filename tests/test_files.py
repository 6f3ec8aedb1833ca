"""Files written whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nas.files import save_json, whole_file


def test_json_comes_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    save_json(path, {"old": True})
    save_json(path, {"größe": [1, None, 0.1]})
    assert json.loads(path.read_bytes()) == {"größe": [1, None, 0.1]}
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_an_error_leaves_the_file_as_it_was(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "a.bin"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(ZeroDivisionError), whole_file(path) as part:
        part.write_bytes(b"half")
        raise ZeroDivisionError
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == (
        {} if before is None else {"a.bin": before}
    )


def test_a_killed_process_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    program = (
        "import os, sys; from pathlib import Path; from nas.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as part:\n"
        f"    part.write_bytes(b'half'); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_json(tmp_path / "none" / "a.json", {})
