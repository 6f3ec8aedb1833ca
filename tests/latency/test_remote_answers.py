"""A client is told in one sentence when what answers is no agent, or answers what no agent would."""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import BinaryIO

import numpy as np
import pytest

from nas.errors import TargetError
from nas.latency.local import reference_model
from nas.latency.protocol import VERSION, Message, read_message, write_message
from nas.latency.remote import RemoteTarget

MODEL = reference_model()
IMAGE = {"x": np.zeros((1, 3, 32, 32), np.uint8)}
TOKEN = "open sesame ü"


def frame(header: object, version: int = VERSION) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack(">8sHI", b"nas-dial", version, len(text)) + text


Answer = Callable[[BinaryIO, BinaryIO], None]


@contextmanager
def listener(*answers: Answer) -> Iterator[RemoteTarget]:
    """A target whose other side is no agent: each connection is answered by the next function."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                client, _ = server.accept()
                with client, client.makefile("rb") as reader, client.makefile("wb") as writer:
                    answer(reader, writer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield RemoteTarget.tcp("127.0.0.1", server.getsockname()[1], TOKEN)
        thread.join(10)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "must answer, but did not: the agent ended it"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "must begin with b'nas-dial'"),
        (frame({}, version=2**15), f"must be {VERSION}, but is {2**15} on the other side"),
        (frame({"kind": "hello", "fields": {}, "sizes": [2**40]}), "must have at most"),
        (frame({"kind": "hello", "fields": {}, "sizes": [32]}) + b"cut", "must be whole"),
    ],
)
def test_what_is_no_agent(data: bytes, told: str) -> None:
    def answer(reader: BinaryIO, writer: BinaryIO) -> None:
        writer.write(data)

    with listener(answer) as target, pytest.raises(TargetError, match=told):
        target.measure(MODEL, IMAGE)


def hello_as(identity: str, *timings: bytes) -> Answer:
    def answer(reader: BinaryIO, writer: BinaryIO) -> None:
        write_message(writer, Message("hello"))
        read_message(reader)
        write_message(writer, Message("identity", {"identity": identity}))
        for timing in timings:
            read_message(reader)
            write_message(writer, Message("timing", payloads=(timing,)))

    return answer


SOUND = {"rounds_s": [[[1.0]]], "reference_s": [], "floor_s": 1.0, "target": "board"}


@pytest.mark.parametrize(
    "timing",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b"{}",
        json.dumps(SOUND | {"rounds_s": [[[-1.0]]]}).encode(),
        json.dumps(SOUND | {"rounds_s": [[[1.0, 1.0]]]}).encode(),
        json.dumps(SOUND | {"floor_s": float("nan")}).encode(),
        json.dumps(SOUND | {"floor_s": 10**400}).encode(),
        json.dumps(SOUND | {"reference_s": None}).encode(),
    ],
    ids=lambda timing: timing.decode()[:40],
)
def test_times_that_are_none(timing: bytes) -> None:
    told = "must answer with the times of each model, but did not"
    with listener(hello_as("board", timing)) as target, pytest.raises(TargetError, match=told):
        target.measure(MODEL, IMAGE)
    with listener(hello_as("board", json.dumps(SOUND).encode())) as target:
        assert target.measure(MODEL, IMAGE).p50_ms == 1000


def test_another_machine_under_the_same_address() -> None:
    with listener(hello_as("phone"), hello_as("laptop")) as target:
        assert target.identity == "phone"
        with pytest.raises(TargetError, match=r"must stay the machine that it was \(phone\).* laptop"):
            target.measure(MODEL, IMAGE)


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 1), ("x" * 99, 1), ("127.0.0.1", 10**6)])
def test_an_address_that_is_none(host: str, port: int) -> None:
    with pytest.raises(TargetError, match=r"must answer, but did not: .*; see that nas agent"):
        _ = RemoteTarget.tcp(host, port).identity
