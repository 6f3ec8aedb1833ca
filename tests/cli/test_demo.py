"""The command needs what a device has and the page's runtime, serves until Ctrl-C, and says what is wrong."""

import json
import shutil
import signal
import socket
import subprocess
import webbrowser
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from nas.latency.onnxruntime_web import FILES
from nas.web import DemoServer

Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ort"
    folder.mkdir()
    for name in FILES:
        (folder / name).touch()
    monkeypatch.setenv("NAS_ORT_WEB", str(folder))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(
    device_program: str, start: Start, run_folder: Path, how: signal.Signals
) -> None:
    process = start("-c", device_program, "demo", run_folder / "bundle", "--data", "digits", "--port", 0)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    with urlopen(f"{url}samples.json") as answer:
        images = json.load(answer)["images"]
    assert [image["label"] for image in images] == [*range(10), *range(10)]
    process.send_signal(how)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_it_opens_the_page(nas: Nas, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(DemoServer, "wait", lambda server: None)
    told = nas("demo", run_folder / "bundle", "--port", 0, "--open")
    assert opened == [told.strip()]


def test_what_is_wrong(nas: Nas, run_folder: Path, copy: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = nas("demo", run_folder / "bundle", "--port", port, code=2)
        assert f"the port must be free on 127.0.0.1, but {port} is not" in told
    shutil.rmtree(copy / "bundle" / "models")
    assert "must be readable" in nas("demo", copy / "bundle", "--port", 0, code=2)
    assert "must be readable" in nas("demo", copy / "nowhere", "--port", 0, code=2)
    told = nas("demo", run_folder / "bundle", "--data", "nothing", "--port", 0, code=2)
    assert "data must be digits" in told
