"""The targets that must keep the contract of `Target`, and agents in processes of their own."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager as ContextManager
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from threading import Thread
from typing import BinaryIO, final

import psutil
import pytest

from nas.graph import Graph
from nas.latency import LocalTarget, Target
from nas.latency.agent import Agent
from nas.latency.browser import BrowserTarget
from nas.latency.openvino import OpenVino
from nas.latency.protocol import Message, prove, read_message, write_message
from nas.latency.quantized import Int8
from nas.latency.remote import RemoteTarget
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from nas.onnx import onnx_model, random_weights

ROOT = Path(__file__).parents[2]
TOKEN = "open sesame ü"


@contextmanager
def over_tcp() -> Iterator[Target]:
    """An agent in this process, met over a socket."""
    with closing(Agent()) as agent:
        thread = Thread(target=agent.serve)
        thread.start()
        yield RemoteTarget.tcp(*agent.address)
    thread.join()


TARGETS: Mapping[str, Callable[[], ContextManager[Target]]] = {
    "local": lambda: nullcontext(LocalTarget()),
    "openvino": lambda: nullcontext(LocalTarget(engine=OpenVino())),
    "int8": lambda: nullcontext(Int8(LocalTarget())),
    "tcp": over_tcp,
    "browser": lambda: nullcontext(BrowserTarget()),
}

# Chromium takes seconds to start.
PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name == "browser" else name for name in TARGETS]


@pytest.fixture(scope="module", params=PARAMS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    if request.param == "browser" and shutil.which("chromium") is None:
        pytest.skip("chromium is not on PATH")
    with TARGETS[request.param]() as opened:
        yield opened


def small_graph(size: int = 8, width: int = 4) -> Graph:
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), 10)

    x = conv_norm_act(net.input((3, size, size)), width, kernel_size=3)
    net.exit(head, conv_norm_act(x, width, kernel_size=3))
    return net.graph()


def small_network(size: int = 8, width: int = 4) -> bytes:
    whole = small_graph(size, width)
    return onnx_model(whole, random_weights(whole))


@pytest.fixture(scope="session")
def graph() -> Callable[..., Graph]:
    """A network of two layers for images of a size, with so many channels."""
    return small_graph


@pytest.fixture(scope="session")
def network() -> Callable[..., bytes]:
    """The same as an ONNX file."""
    return small_network


@pytest.fixture(scope="session")
def slow() -> bytes:
    """A network of 4 billion MACs, so that a measurement is still on when something happens to it."""
    return small_network(256, 84)


@final
class Running:
    """An agent in a process of its own."""

    def __init__(self, *program: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, program)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.memory = psutil.Process(self.process.pid).memory_info
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.port = int(line.rpartition(":")[2])

    def target(self, token: str | None = TOKEN) -> RemoteTarget:
        return RemoteTarget.tcp("127.0.0.1", self.port, token)

    def wait_until_measuring(self) -> None:
        """Wait until the process has been computing for longer than anything but a measurement takes."""
        times = psutil.Process(self.process.pid).cpu_times
        begin_s = times().user
        while times().user < begin_s + 0.2:
            time.sleep(0.01)

    @contextmanager
    def stranger(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """What a client reads and writes."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as stream,
            stream.makefile("rb") as reader,
            stream.makefile("wb") as writer,
        ):
            yield reader, writer

    @contextmanager
    def client(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """What a client reads and writes after the greeting."""
        with self.stranger() as (reader, writer):
            for nonce in read_message(reader).payloads:
                write_message(writer, Message("proof", payloads=(prove(TOKEN, nonce),)))
                assert read_message(reader).kind == "welcome"
            yield reader, writer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def running_agent(*program: object) -> Iterator[Running]:
    agent = Running(*program)
    try:
        yield agent
    finally:
        agent.end()


@pytest.fixture(scope="session")
def running() -> Callable[..., ContextManager[Running]]:
    """Runs an agent as long as a `with` lasts."""
    return running_agent


@pytest.fixture(scope="session")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "token.txt"
    path.write_text(TOKEN + "\n", encoding="utf-8")
    return path
