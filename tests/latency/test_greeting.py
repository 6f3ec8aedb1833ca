"""An agent leaves strangers who do not say in time that they know its token."""

import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import takewhile
from threading import Thread
from time import monotonic, sleep

import pytest

from nas.latency.agent import Agent
from nas.latency.protocol import Message, prove, read_message, write_message

TOKEN = "open sesame"
IDLE_S = 0.5


@pytest.fixture
def agent() -> Iterator[Agent]:
    with closing(Agent(token=TOKEN, idle_s=IDLE_S)) as agent:
        Thread(target=agent.serve).start()
        yield agent


def trickle(stream: socket.socket) -> Iterator[bool]:
    """Whether the agent still listens, byte for byte."""
    while True:
        sleep(IDLE_S / 10)
        try:
            stream.sendall(b"\0")
        except OSError:
            yield False
        yield True


def test_a_byte_now_and_then_holds_no_place(agent: Agent) -> None:
    begin = monotonic()
    with socket.create_connection(agent.address, timeout=10) as stream, stream.makefile("rb") as reader:
        assert read_message(reader).kind == "hello"
        listening = takewhile(lambda here: here and monotonic() < begin + 20 * IDLE_S, trickle(stream))
        assert 2 < sum(listening) < 100
        assert reader.read() == b""


def test_who_knows_the_token_stays_longer_than_a_stranger_may(agent: Agent) -> None:
    with (
        socket.create_connection(agent.address, timeout=10) as stream,
        stream.makefile("rb") as reader,
        stream.makefile("wb") as writer,
    ):
        (nonce,) = read_message(reader).payloads
        write_message(writer, Message("proof", payloads=(prove(TOKEN, nonce),)))
        assert read_message(reader).kind == "welcome"
        for _ in range(5):
            sleep(IDLE_S / 2)
            write_message(writer, Message("identity", {"threads": 1, "engine": "onnxruntime"}))
            assert read_message(reader).kind == "identity"
