"""The agent: runs on a device and times networks there for clients elsewhere.

It needs what a device needs to run a bundle, and no more. A client proves that it has the token without
sending it; what it then sends is not encrypted. One measurement runs at a time, whoever asks.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hmac import compare_digest
from ipaddress import ip_address
from socket import SHUT_RDWR, SHUT_WR, SOCK_STREAM, create_server, getaddrinfo, socket
from threading import Event, Lock, Thread, Timer
from time import monotonic
from typing import Any, BinaryIO, final

from nas.errors import TargetError
from nas.latency.local import LocalTarget
from nas.latency.protocol import (
    ALIVE,
    LIMIT_BYTES,
    Message,
    failure,
    prove,
    read_message,
    restore_arrays,
    write_message,
)
from nas.latency.specs import engine_of

__all__ = ["Agent", "serve_stdio"]

_MOST_SECONDS = 60.0  # as long as others wait for their turn
_ALIVE_S = 1.0
_GREETING_BYTES = 4096  # no stranger may send more, or take longer
_GREETING_S = 10.0
_CLIENTS = 8
_PARTING_S = 1.0


@final
class Agent:
    """Listens on an address and answers each client in a thread of its own, at most eight at once."""

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        *,
        limit_bytes: int = LIMIT_BYTES,
        idle_s: float = 60.0,
        wait_s: float = _MOST_SECONDS,
    ) -> None:
        """Take the port, or with 0 a free one; clients that send nothing for `idle_s` are left.

        `TargetError` where the address cannot be had, or is open to other machines without a token.
        """
        if not token and not _is_loopback(host):
            raise TargetError(
                f"an agent that other machines can reach must have a token, but got none for {host!r}; give "
                "--token-file"
            )
        self._listener = _listen(host, port)
        self._service = _Service(limit_bytes=limit_bytes, wait_s=wait_s)
        self._token = token
        self._idle_s = idle_s
        self._closing = Event()
        self._clients: set[socket] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port, *_ = self._listener.getsockname()
        return host, port

    def serve(self) -> None:
        """Answer clients until `close`."""
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed, or a client that left before it came in
                self._closing.wait(0.1)
                continue
            if len(self._clients) == _CLIENTS:
                _refuse(client)
                continue
            self._clients.add(client)
            Thread(target=self._attend, args=(client,)).start()

    def close(self) -> None:
        """Listen no more and leave all clients; a measurement that runs goes on to its end, for nobody."""
        self._closing.set()
        for connection in (self._listener, *self._clients):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
        self._listener.close()

    def _attend(self, client: socket) -> None:
        try:
            with suppress(OSError), client:
                client.settimeout(self._idle_s)
                with client.makefile("rb") as reader, client.makefile("wb") as writer, _told(writer):
                    with _limited(client, min(_GREETING_S, self._idle_s)):
                        self._service.greet(reader, writer, self._token)
                    self._service.converse(reader, writer)
                _part(client)
        finally:
            self._clients.discard(client)


def serve_stdio(reader: BinaryIO, writer: BinaryIO) -> None:
    """Answer one client, who needs no token, over a pair of streams until it leaves."""
    service = _Service(limit_bytes=LIMIT_BYTES, wait_s=_MOST_SECONDS)
    with suppress(OSError), _told(writer):
        service.greet(reader, writer)
        service.converse(reader, writer)


@final
class _Service:
    """Answers requests of any number of clients with one local target for each setting."""

    def __init__(self, *, limit_bytes: int, wait_s: float) -> None:
        self._limit_bytes = limit_bytes
        self._wait_s = wait_s
        self._targets: dict[tuple[int, str], LocalTarget] = {}
        self._measuring = Lock()

    def greet(self, reader: BinaryIO, writer: BinaryIO, token: str = "") -> None:
        """Let in a client that has the token; `TargetError` where it has not."""
        nonce = (secrets.token_bytes(32),) if token else ()
        write_message(writer, Message("hello", {"limit_bytes": self._limit_bytes}, nonce))
        if not token:
            return
        proof = b"".join(read_message(reader, _GREETING_BYTES).payloads)
        if not compare_digest(proof, prove(token, *nonce)):
            raise TargetError("the token must be that of the agent, but is another; give the same to both")
        write_message(writer, Message("welcome"))

    def converse(self, reader: BinaryIO, writer: BinaryIO) -> None:
        """Answer a client until it leaves or sends what is no message, which is a `TargetError`."""
        while True:
            request = read_message(reader, self._limit_bytes)
            write_message(writer, self._answer(request, writer))

    def _answer(self, request: Message, writer: BinaryIO) -> Message:
        try:
            target = self._target(request.fields.get("threads"), request.fields.get("engine"))
            if request.kind == "identity":
                return Message("identity", {"identity": target.identity})
            if request.kind == "time":
                return self._timing(target, request, writer)
            raise TargetError(f"a request must be identity or time, but got {request.kind!r}; ask for one")
        except Exception as error:  # whatever one request meets, the next must be answered
            return failure(error)

    def _target(self, threads: Any, engine: Any) -> LocalTarget:
        cores = os.cpu_count() or 1
        if type(threads) is not int or not 1 <= threads <= cores:
            raise TargetError(f"threads must be 1 to {cores}, but got {threads!r}; choose fewer")
        key = threads, str(engine)
        if key not in self._targets:
            self._targets.setdefault(key, LocalTarget(threads, engine_of(engine, threads)))
        return self._targets[key]

    def _timing(self, target: LocalTarget, request: Message, writer: BinaryIO) -> Message:
        fields, payloads = request.fields, request.payloads
        models, seconds = fields.get("models"), fields.get("seconds")
        if type(models) is not int or not 1 <= models <= len(payloads):
            raise TargetError(f"models must count files that follow, but got {models!r}; send at least one")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_SECONDS:
            rule = f"seconds must be at most {_MOST_SECONDS:.0f}"
            raise TargetError(f"{rule}, but got {seconds!r}; measure for a shorter time")
        inputs = restore_arrays(fields.get("inputs"), payloads[models:])
        with self._turn(writer), _keeping_alive(writer):
            timing = target.time(payloads[:models], inputs, seconds=seconds)
        return Message("timing", payloads=(json.dumps(timing.to_json()).encode(),))

    @contextmanager
    def _turn(self, writer: BinaryIO) -> Iterator[None]:
        """Wait until no other measurement runs, as long as the client is there."""
        begin = monotonic()
        while not self._measuring.acquire(timeout=min(_ALIVE_S, self._wait_s)):
            if monotonic() - begin > self._wait_s:
                rule = f"an agent must come free within {self._wait_s:.0f} s, but is busy for another client"
                raise TargetError(f"{rule}; try again later")
            write_message(writer, ALIVE)
        try:
            yield
        finally:
            self._measuring.release()


@contextmanager
def _told(writer: BinaryIO) -> Iterator[None]:
    """Tell the client of a `TargetError`, which ends the conversation."""
    try:
        yield
    except TargetError as error:
        write_message(writer, failure(error))


@contextmanager
def _limited(client: socket, seconds: float) -> Iterator[None]:
    """Leave a client who takes longer in all, however little it sends at a time."""

    def leave() -> None:
        with suppress(OSError):
            client.shutdown(SHUT_RDWR)

    timer = Timer(seconds, leave)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _keeping_alive(writer: BinaryIO) -> Iterator[None]:
    """Meanwhile tell the client now and then that its answer is still to come."""
    done = Event()

    def tell() -> None:
        with suppress(OSError):  # who has left is noticed when the answer is sent
            while not done.wait(_ALIVE_S):
                write_message(writer, ALIVE)

    thread = Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _listen(host: str, port: int) -> socket:
    try:
        if not 0 <= port < 2**16:
            raise ValueError("no such port")
        family, *_, address = getaddrinfo(host, port, type=SOCK_STREAM)[0]
        return create_server((str(address[0]), port), family=family)
    except (OSError, ValueError) as error:
        rule = "host and port must be an address of this machine that is free"
        raise TargetError(f"{rule}, but got {host}:{port}: {error}; choose another") from error


def _refuse(client: socket) -> None:
    rule = f"an agent must have at most {_CLIENTS} clients at once"
    with suppress(OSError), client, client.makefile("wb") as writer:
        write_message(writer, failure(TargetError(f"{rule}, but got one more; try again later")))


def _part(client: socket) -> None:
    """Let a client that is still sending read the last message, which a mere close may take from it."""
    client.shutdown(SHUT_WR)
    client.settimeout(_PARTING_S)
    end = monotonic() + _PARTING_S
    while monotonic() < end and client.recv(2**16):
        pass


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
