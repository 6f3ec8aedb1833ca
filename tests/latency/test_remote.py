"""A remote target measures like a local one; what its clients do wrong is one clear error."""

import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import TargetError
from nas.graph import Graph
from nas.latency import LocalTarget, measure_exits
from nas.latency.protocol import ALIVE, VERSION, Message, describe_arrays, prove, read_message, write_message
from nas.latency.remote import RemoteTarget
from nas.onnx import onnx_model, random_weights, shipped_segments

Running = Any  # of conftest.py
Network = Callable[..., bytes]
MakeGraph = Callable[..., Graph]
RunAgent = Callable[..., AbstractContextManager[Any]]
TOKEN = "open sesame ü"
IMAGE = {"x": np.zeros((1, 3, 8, 8), np.uint8)}
LARGE_IMAGE = {"x": np.zeros((1, 3, 256, 256), np.uint8)}


@pytest.fixture(scope="module")
def shared(running: RunAgent, token_file: Path) -> Iterator[Running]:
    with running("-m", "nas", "agent", "--port", 0, "--token-file", token_file) as agent:
        yield agent


@pytest.fixture
def agent(network: Network, shared: Running) -> Iterator[Running]:
    """The agent that has met all tests before, and after this one still measures."""
    yield shared
    assert shared.target().measure(network(), IMAGE, seconds=0.02).p50_ms > 0
    assert shared.process.poll() is None


def request(model: bytes, images: dict[str, np.ndarray], **fields: Any) -> Message:
    specs, arrays = describe_arrays(images)
    defaults = {"threads": 1, "engine": "onnxruntime", "seconds": 0.02, "models": 1, "inputs": specs}
    return Message("time", defaults | fields, (model, *arrays))


def test_it_measures_as_the_local_target_does(graph: MakeGraph, agent: Running) -> None:
    target = agent.target()
    assert target.identity == LocalTarget().identity
    (latency,) = measure_exits(target, graph(), seconds=0.02)
    assert 0 < latency.p50_ms <= latency.p95_ms
    assert latency.runs >= 10
    assert latency.target == target.identity


def test_each_model_of_a_chain_has_its_times(graph: MakeGraph, agent: Running) -> None:
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


@pytest.mark.parametrize("kind", ["empty", "text", "cut"])
def test_a_model_that_does_not_load_leaves_the_connection(
    network: Network, agent: Running, kind: str
) -> None:
    model = {"empty": b"", "text": b"not ONNX", "cut": network()[:200]}[kind]
    target = agent.target()
    for _ in range(2):
        with pytest.raises(TargetError, match="a model must run"):
            target.measure(model, IMAGE, seconds=0.02)
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0
    with agent.client() as (reader, writer):
        for file, answer in ((model, "error"), (network(), "timing")):
            write_message(writer, request(file, IMAGE))
            assert read_message(reader).kind == answer


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
def test_requests_that_make_no_sense(
    network: Network, agent: Running, fields: dict[str, Any], told: str
) -> None:
    with agent.client() as (reader, writer):
        write_message(writer, request(network(), IMAGE, **fields))
        assert told in read_message(reader).fields["reason"]
        write_message(writer, Message("dance", request(b"", {}).fields))
        assert "must be identity or time, but got 'dance'" in read_message(reader).fields["reason"]


@pytest.mark.parametrize("token", ["wrong", TOKEN + " ", TOKEN.encode().hex()])
def test_a_wrong_token(network: Network, agent: Running, token: str) -> None:
    with pytest.raises(TargetError, match="the token must be that of the agent, but is another"):
        agent.target(token).measure(network(), IMAGE)


def test_no_token(network: Network, agent: Running) -> None:
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


def test_two_clients_at_once(network: Network, agent: Running) -> None:
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
