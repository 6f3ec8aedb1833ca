"""A remote target measures like a local one; what happens to the agent or its clients is one clear error."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import psutil
import pytest

from nas.errors import TargetError
from nas.graph import Graph
from nas.latency import LocalTarget, measure_exits
from nas.latency.protocol import ALIVE, VERSION, Message, describe_arrays, prove, read_message, write_message
from nas.latency.remote import RemoteTarget
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from nas.onnx import onnx_model, random_weights, shipped_segments

ROOT = Path(__file__).parents[2]
TOKEN = "open sesame ü"
IMAGE = {"image": np.zeros((1, 3, 8, 8), np.uint8)}
LARGE_IMAGE = {"image": np.zeros((1, 3, 256, 256), np.uint8)}
LIMITED = """
import sys
from nas.latency.agent import Agent
agent = Agent(limit_bytes=1_000_000, idle_s=0.3, wait_s=0.2)
print("listening on %s:%d" % agent.address, file=sys.stderr, flush=True)
agent.serve()
"""


def graph(size: int = 8, width: int = 4) -> Graph:
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), 10)

    x = conv_norm_act(net.input((3, size, size)), width, kernel_size=3)
    net.exit(head, conv_norm_act(x, width, kernel_size=3))
    return net.graph()


def network(size: int = 8, width: int = 4) -> bytes:
    whole = graph(size, width)
    return onnx_model(whole, random_weights(whole))


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A network of 4 billion MACs, so that a measurement is still on when something happens to it."""
    return network(256, 84)


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
def running(*program: object) -> Iterator[Running]:
    agent = Running(*program)
    try:
        yield agent
    finally:
        agent.end()


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "token.txt"
    path.write_text(TOKEN + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shared(token_file: Path) -> Iterator[Running]:
    with running("-m", "nas", "agent", "--port", 0, "--token-file", token_file) as agent:
        yield agent


@pytest.fixture
def agent(shared: Running) -> Iterator[Running]:
    """The agent that has met all tests before, and after this one still measures."""
    yield shared
    assert shared.target().measure(network(), IMAGE, seconds=0.02).p50_ms > 0
    assert shared.process.poll() is None


def request(model: bytes, images: dict[str, np.ndarray], **fields: Any) -> Message:
    specs, arrays = describe_arrays(images)
    defaults = {"threads": 1, "engine": "onnxruntime", "seconds": 0.02, "models": 1, "inputs": specs}
    return Message("time", defaults | fields, (model, *arrays))


def test_it_measures_as_the_local_target_does(agent: Running) -> None:
    target = agent.target()
    assert target.identity == LocalTarget().identity
    (latency,) = measure_exits(target, graph(), seconds=0.02)
    assert 0 < latency.p50_ms <= latency.p95_ms
    assert latency.runs >= 10
    assert latency.target == target.identity


def test_each_model_of_a_chain_has_its_times(agent: Running) -> None:
    whole = graph()
    weights = random_weights(whole)
    models = [onnx_model(whole, weights, segment) for segment in shipped_segments(whole)]
    timing = agent.target().time(models, IMAGE, seconds=0.02)
    assert {times_s.shape[1] for times_s in timing.rounds} == {len(models)} == {2}
    assert all((times_s > 0).all() for times_s in timing.rounds)


def test_threads_are_those_asked_for(agent: Running) -> None:
    cores = os.cpu_count()
    target = RemoteTarget.tcp("127.0.0.1", agent.port, TOKEN, threads=cores or 1)
    assert target.identity == LocalTarget(cores or 1).identity
    with pytest.raises(TargetError, match=f"threads must be 1 to {cores}, but got 1000"):
        _ = RemoteTarget.tcp("127.0.0.1", agent.port, TOKEN, threads=1000).identity
    with pytest.raises(TargetError, match=r"engine must be .*onnxruntime.*, but got 'abacus'"):
        _ = RemoteTarget.tcp("127.0.0.1", agent.port, TOKEN, engine="abacus").identity


@pytest.mark.parametrize("model", [b"", b"not ONNX", network()[:200]], ids=["empty", "text", "cut"])
def test_a_model_that_does_not_load_leaves_the_connection(agent: Running, model: bytes) -> None:
    target = agent.target()
    for _ in range(2):
        with pytest.raises(TargetError, match="a model must run"):
            target.measure(model, IMAGE, seconds=0.02)
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0
    with agent.client() as (reader, writer):
        for bytes_, kind in ((model, "error"), (network(), "timing")):
            write_message(writer, request(bytes_, IMAGE))
            assert read_message(reader).kind == kind


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"models": 0}, "models must count"),
        ({"models": 3}, "models must count"),
        ({"models": "1"}, "models must count"),
        ({"models": 2}, "an array must come with"),
        ({"inputs": None}, "an array must come with"),
        ({"seconds": 1e9}, "seconds must be at most 60"),
        ({"seconds": float("nan")}, "seconds must be at most 60"),
        ({"seconds": None}, "seconds must be at most 60"),
        ({"threads": True}, "threads must be"),
        ({"engine": ["onnxruntime"]}, "engine must be"),
    ],
)
def test_requests_that_make_no_sense(agent: Running, fields: dict[str, Any], told: str) -> None:
    with agent.client() as (reader, writer):
        write_message(writer, request(network(), IMAGE, **fields))
        assert told in read_message(reader).fields["reason"]
        write_message(writer, Message("dance", request(b"", {}).fields))
        assert "must be identity or time, but got 'dance'" in read_message(reader).fields["reason"]


@pytest.mark.parametrize("token", ["wrong", TOKEN + " ", TOKEN.encode().hex()])
def test_a_wrong_token(agent: Running, token: str) -> None:
    with pytest.raises(TargetError, match="the token must be that of the agent, but is another"):
        agent.target(token).measure(network(), IMAGE)


def test_no_token(agent: Running) -> None:
    for token in (None, ""):
        with pytest.raises(TargetError, match="must have its token, but has none"):
            agent.target(token).measure(network(), IMAGE)
    with agent.stranger() as (reader, writer):
        assert read_message(reader).payloads
        write_message(writer, request(network(), IMAGE))
        assert "the token must be that of the agent" in read_message(reader).fields["reason"]
        assert not reader.read()


def frame(header: object, version: int = VERSION) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack(">8sHI", b"nas-dial", version, len(text)) + text


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "must begin with b'nas-dial'"),
        (bytes(100_000), "must begin with b'nas-dial'"),
        (frame({}, version=9), f"must be {VERSION}, but is 9 on the other side"),
        (frame({"kind": "time"}), "header must be JSON"),
        (frame({"kind": "time", "fields": {}, "sizes": [2**30]}), "bytes, but has 10737418"),
        (struct.pack(">8sHI", b"nas-dial", VERSION, 2**31), f"but has {2**31}"),
    ],
    ids=["browser", "zeros", "version", "header", "gigabyte", "long header"],
)
@pytest.mark.parametrize("known", [True, False], ids=["after the greeting", "as a greeting"])
def test_what_is_no_message_is_answered_and_ends(agent: Running, data: bytes, told: str, known: bool) -> None:
    before = agent.memory()
    with agent.stranger() as (reader, writer):
        (nonce,) = read_message(reader).payloads
        if known:
            write_message(writer, Message("proof", payloads=(prove(TOKEN, nonce),)))
            assert read_message(reader).kind == "welcome"
        writer.write(data)
        writer.flush()
        assert told in read_message(reader).fields["reason"]
        assert not reader.read()
    assert agent.memory().rss - before.rss < 2**25
    assert agent.memory().vms - before.vms < 2**29  # a gigabyte was never asked for


def test_a_gigabyte_that_does_come_is_not_kept(agent: Running) -> None:
    before = agent.memory()
    with suppress(BrokenPipeError, ConnectionResetError), agent.client() as (_, writer):
        writer.write(frame({"kind": "time", "fields": {}, "sizes": [2**30]}))
        for _ in range(64):
            writer.write(bytes(2**24))
    assert agent.memory().rss - before.rss < 2**25


def test_a_connection_cut_in_an_upload(agent: Running) -> None:
    with agent.client() as (_, writer):
        writer.write(frame({"kind": "time", "fields": {}, "sizes": [2**20]}) + bytes(1000))
        writer.flush()


def test_a_connection_cut_in_a_measurement(agent: Running, slow: bytes) -> None:
    with agent.client() as (reader, writer):
        write_message(writer, request(slow, LARGE_IMAGE, seconds=1.2))
        assert read_message(reader) == ALIVE


def test_two_clients_at_once(agent: Running) -> None:
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(agent.target().measure, network(), IMAGE, seconds=0.2) for _ in range(4)]
        assert all(job.result().target == agent.target().identity for job in jobs)


def test_more_clients_than_an_agent_has(agent: Running) -> None:
    targets = [agent.target() for _ in range(8)]
    assert len({target.identity for target in targets}) == 1
    with pytest.raises(TargetError, match="at most 8 clients at once, but got one more"):
        _ = agent.target().identity
    del targets
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # the agent needs a moment to see that they have left
        with suppress(TargetError):
            assert agent.target().identity
            break


def test_an_agent_with_limits(slow: bytes) -> None:
    with running("-c", LIMITED) as agent:
        target = agent.target(None)
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0
        with pytest.raises(TargetError, match="must have at most 1000000 bytes"):
            target.measure(network(), {"image": np.zeros(1_000_000, np.uint8)})
        with agent.client() as (reader, _):
            assert reader.read() == b""  # who sends nothing is left
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0  # which the target does not notice
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(agent.target(None).measure, slow, LARGE_IMAGE, seconds=1)
            agent.wait_until_measuring()
            with pytest.raises(TargetError, match="is busy for another client"):
                target.measure(network(), IMAGE, seconds=0.02)
            assert job.result().p50_ms > 0


def test_an_agent_killed_in_a_measurement_and_started_again(token_file: Path, slow: bytes) -> None:
    options = ("-m", "nas", "agent", "--token-file", token_file, "--port")
    with running(*options, 0) as agent, ThreadPoolExecutor(1) as pool:
        target = agent.target()
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0
        job = pool.submit(target.measure, slow, LARGE_IMAGE, seconds=20)
        agent.wait_until_measuring()
        agent.end()
        with pytest.raises(TargetError, match="must last until a measurement ends, but was lost: "):
            job.result(timeout=5)
        with pytest.raises(TargetError, match=r"must answer, but did not: .*refused"):
            target.measure(network(), IMAGE)
    with running(*options, agent.port):
        assert target.measure(network(), IMAGE, seconds=0.02).target == target.identity


def test_a_frozen_agent_is_told_from_a_slow_one(
    token_file: Path, slow: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.latency.remote._PATIENCE_S", 1.5)
    with running("-m", "nas", "agent", "--port", 0, "--token-file", token_file) as agent:
        target = agent.target()
        assert target.measure(slow, LARGE_IMAGE, seconds=2).p50_ms > 0
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(target.measure, slow, LARGE_IMAGE, seconds=20)
            agent.wait_until_measuring()
            agent.process.send_signal(signal.SIGSTOP)
            with pytest.raises(TargetError, match="but was lost: timed out"):
                job.result(timeout=10)


@pytest.mark.parametrize("busy", [False, True])
def test_sigterm_ends_an_agent_well(token_file: Path, slow: bytes, busy: bool) -> None:
    with running("-m", "nas", "agent", "--port", 0, "--token-file", token_file) as agent:
        target = agent.target()
        assert target.identity
        with ThreadPoolExecutor(1) as pool:
            if busy:
                job = pool.submit(target.measure, slow, LARGE_IMAGE, seconds=0.1)
                agent.wait_until_measuring()
            agent.process.terminate()
            assert agent.process.wait(10) == 0
            assert agent.process.stderr is not None
            assert agent.process.stderr.read() == ""
            if busy:
                with pytest.raises(TargetError, match="was lost: the agent ended it"):
                    job.result()
