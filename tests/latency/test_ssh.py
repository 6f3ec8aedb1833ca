"""ssh starts an agent on the other side, and tells why it cannot."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from nas.errors import TargetError
from nas.latency import LocalTarget
from nas.latency.local import reference_model
from nas.latency.remote import RemoteTarget

ROOT = Path(__file__).parents[2]
MODEL = reference_model()
IMAGE = {"x": np.zeros((1, 3, 32, 32), np.uint8)}
STDIO = (sys.executable, "-m", "nas", "agent", "--stdio")
LOCALLY = 'while [ "$1" != ssh://user@board ]; do shift; done; shift; exec "$@"'


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let `ssh` be a script of the shell."""

    def write(script: str) -> None:
        path = tmp_path / "ssh"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return write


def test_ssh_starts_an_agent(fake_ssh: Callable[[str], None]) -> None:
    fake_ssh(LOCALLY)
    target = RemoteTarget.ssh("user@board", STDIO)
    children = psutil.Process().children
    before = children()
    assert target.identity == LocalTarget().identity
    for _ in range(2):
        assert target.measure(MODEL, IMAGE, seconds=0.02).target == target.identity
        with pytest.raises(TargetError, match="a model must run"):
            target.measure(b"", IMAGE)
    (process,) = set(children()) - set(before)  # one agent for all that
    process.kill()
    assert target.measure(MODEL, IMAGE, seconds=0.02).target == target.identity
    del target
    assert set(children()) <= set(before)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo Warning >&2; echo 'Permission denied (publickey).' >&2; exit 255", r"denied \(publickey\)\.;"),
        ("echo 'sh: nas: not found' >&2; exit 127", "sh: nas: not found"),
        ("exit 1", "the agent ended it"),
        ("echo Welcome to the board", "must begin with b'nas-dial', but began with b'Welcome '"),
        (LOCALLY.replace('"$@"', "/no/such/program"), "/no/such/program"),
    ],
)
def test_ssh_that_fails(fake_ssh: Callable[[str], None], script: str, told: str) -> None:
    fake_ssh(script)
    with pytest.raises(TargetError, match=told):
        RemoteTarget.ssh("user@board", STDIO).measure(MODEL, IMAGE)


def test_no_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match=r"ssh://board must answer, but did not: .*'ssh'"):
        _ = RemoteTarget.ssh("board").identity
