"""The command needs only what a device has, is closed to strangers, and ends when it is told to."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from nas.cli.entry import main
from nas.latency.local import LocalTarget, reference_model
from nas.latency.protocol import Message, describe_arrays, read_message, write_message
from nas.latency.remote import RemoteTarget

Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]

IMAGE = {"x": np.zeros((1, 3, 32, 32), np.uint8)}


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("listening on 127.0.0.1:"), line
    return int(line.rpartition(":")[2])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_needs_what_a_device_has_and_ends_well(
    device_program: str, start: Start, tmp_path: Path, how: signal.Signals
) -> None:
    file = tmp_path / "token.txt"
    file.write_text("  secret \n")
    process = start("-c", device_program, "agent", "--port", 0, "--token-file", file)
    target = RemoteTarget.tcp("127.0.0.1", port_of(process), "secret")
    latency = target.measure(reference_model(), IMAGE, seconds=0.02)
    assert latency.target == LocalTarget().identity
    process.send_signal(how)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_stdio_carries_messages_and_nothing_else(device_program: str) -> None:
    specs, arrays = describe_arrays(IMAGE)
    fields = {"threads": 1, "engine": "onnxruntime", "seconds": 0.02, "models": 1, "inputs": specs}
    asked = BytesIO()
    for model in (reference_model(), b"", reference_model()):
        write_message(asked, Message("time", fields, (model, *arrays)))
    done = subprocess.run(
        [sys.executable, "-c", device_program, "agent", "--stdio"],
        input=asked.getvalue(),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    answers = BytesIO(done.stdout)
    kinds = []
    while answers.tell() < len(done.stdout):
        kinds.append(read_message(answers).kind)
    assert [kind for kind in kinds if kind != "alive"] == ["hello", "timing", "error", "timing", "error"]


def test_strangers_need_a_token(nas: Nas) -> None:
    for host in ("0.0.0.0", "::", "", "192.0.2.1", "board.example"):
        told = nas("agent", "--port", 0, "--host", host, code=2)
        assert "must have a token" in told
        assert "--token-file" in told


def test_token_files_that_hold_none(nas: Nas, tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe")
    for path, told in ((empty, "is empty"), (binary, "utf-8"), (tmp_path / "none", "No such file")):
        for host in ("127.0.0.1", "0.0.0.0"):
            assert told in nas("agent", "--port", 0, "--host", host, "--token-file", path, code=2)


def test_addresses_that_cannot_be_had(nas: Nas) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in nas("agent", "--port", taken.getsockname()[1], code=2)
    assert "127.0.0.1:99999: no such port" in nas("agent", "--port", 99999, code=2)


@pytest.mark.parametrize("command", ["agent", "agent --stdio --port 1", "agent --port -1", "agent --port x"])
def test_command_lines_that_are_wrong(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(command.split())
    assert left.value.code == 2
    assert "usage: nas" in capsys.readouterr().err
