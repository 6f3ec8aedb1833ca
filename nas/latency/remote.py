"""Time networks on another machine, where `nas agent` runs or the system's ssh starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from threading import Lock
from typing import BinaryIO, final

from nas.errors import TargetError
from nas.latency.protocol import (
    ALIVE,
    LIMIT_BYTES,
    Message,
    describe_arrays,
    prove,
    read_message,
    write_message,
)
from nas.latency.target import Inputs, Target
from nas.latency.timing import Timing

__all__ = ["RemoteTarget"]

_PATIENCE_S = 10.0  # an agent that measures says so every second
_START_S = 60.0  # a small board takes long to log in and to start Python
_END_S = 2.0
_COMPLAINT_BYTES = 2**12


@final
class RemoteTarget(Target):
    """A machine with an agent: connected when it is first needed, and again after a connection was lost.

    `TargetError` where nobody answers, or the connection is lost during a measurement.
    """

    def __init__(self, name: str, connect: Callable[[], _Connection], *, threads: int, engine: str) -> None:
        """Made by `tcp` and `ssh`."""
        self._name = name
        self._connect = connect
        self._setting = {"threads": threads, "engine": engine}
        self._connection: _Connection | None = None
        self._identity = ""
        self._lock = Lock()

    @classmethod
    def tcp(
        cls, host: str, port: int, token: str | None = None, *, threads: int = 1, engine: str = "onnxruntime"
    ) -> RemoteTarget:
        """An agent that listens on a port; the token is the text in its token file."""

        def connect() -> _Connection:
            stream = socket.create_connection((host, port), timeout=_PATIENCE_S)
            return _Connection(stream, token)

        return cls(f"tcp://{host}:{port}", connect, threads=threads, engine=engine)

    @classmethod
    def ssh(
        cls,
        destination: str,
        command: Sequence[str] = ("nas", "agent", "--stdio"),
        *,
        threads: int = 1,
        engine: str = "onnxruntime",
    ) -> RemoteTarget:
        """An agent that ssh starts for this target alone, by a command of the shell on that machine.

        The destination is a host, with user@ before and :port behind it where needed. Nothing can be typed:
        the host must be known and log in by key.
        """
        address = f"ssh://{destination}"  # in this form no option of ssh

        def connect() -> _Connection:
            ssh = _Ssh(("ssh", "-T", "-o", "BatchMode=yes", address, *command))
            return _Connection(ssh.stream, ssh=ssh)

        return cls(address, connect, threads=threads, engine=engine)

    @property
    def identity(self) -> str:
        with self._lock:
            if not self._identity:
                self._meet()
            return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        specs, arrays = describe_arrays(inputs)
        fields = self._setting | {"seconds": seconds, "models": len(models), "inputs": specs}
        request = Message("time", fields, (*models, *arrays))
        with self._lock:
            connection = self._meet()
            try:
                answer = connection.ask(request)
            except OSError as error:
                rule = f"the connection to {self._name} must last until a measurement ends"
                raise TargetError(f"{rule}, but was lost: {error}; start it again there") from error
        try:
            timing = Timing.from_json(json.loads(b"".join(answer.payloads)))
            if timing.rounds[0].shape[1] != len(models):
                raise ValueError("times of another number of models")
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            rule = f"{self._name} must answer with the times of each model"
            raise TargetError(f"{rule}, but did not: {error!r}; install nas-dial there again") from error
        return timing

    def _meet(self) -> _Connection:
        """A connection over which the agent has just answered, opened anew where the last one was lost."""
        if self._connection is not None:
            with suppress(OSError):
                return self._recognize(self._connection)
        try:
            self._connection = self._connect()
            return self._recognize(self._connection)
        except (OSError, UnicodeError, OverflowError) as error:  # the latter: no host name, no port
            raise TargetError(
                f"{self._name} must answer, but did not: {error}; see that nas agent can be reached there"
            ) from error

    def _recognize(self, connection: _Connection) -> _Connection:
        """The same connection, once it has led to the machine that it led to before."""
        identity = str(connection.ask(Message("identity", self._setting)).fields.get("identity"))
        if self._identity not in ("", identity):
            rule = f"{self._name} must stay the machine that it was ({self._identity})"
            raise TargetError(f"{rule}, but is now: {identity}; begin again with a new target")
        self._identity = identity
        return connection


@final
class _Connection:
    """Asks an agent over a socket; `OSError` where that is lost. It is closed when it is forgotten."""

    def __init__(self, stream: socket.socket, token: str | None = None, *, ssh: _Ssh | None = None) -> None:
        """Wait for the agent's greeting and answer it."""
        self._reader, self._writer = stream.makefile("rb"), stream.makefile("wb")
        self._ssh = ssh
        weakref.finalize(self, _close, self._writer, self._reader, stream, ssh)
        self._limit_bytes = LIMIT_BYTES
        self._complete = False
        hello = self._hear()
        stream.settimeout(_PATIENCE_S)
        if type(limit_bytes := hello.fields.get("limit_bytes")) is int:
            self._limit_bytes = limit_bytes
        if hello.payloads:
            if not token:
                raise TargetError("a client of this agent must have its token, but has none; give one")
            self.ask(Message("proof", payloads=(prove(token, hello.payloads[0]),)))

    def ask(self, request: Message) -> Message:
        """The agent's answer; `TargetError` where it says that it cannot, or says what is no message."""
        if not self._complete:
            raise ConnectionError("an answer is missing")
        self._complete = False  # until the answer is read, whatever interrupts
        try:
            write_message(self._writer, request, self._limit_bytes)
        except OSError as error:
            raise self._lost(error) from error
        return self._hear()

    def _hear(self) -> Message:
        message = ALIVE
        try:
            while message == ALIVE:
                if not self._reader.peek(1):
                    raise ConnectionError("the agent ended it")
                message = read_message(self._reader)
        except OSError as error:
            raise self._lost(error) from error
        self._complete = True
        if message.kind == "error":
            raise TargetError(str(message.fields.get("reason")))
        return message

    def _lost(self, error: OSError) -> OSError:
        return ConnectionError((self._ssh.complaint() if self._ssh else "") or str(error))


@final
class _Ssh:
    """A process that leads to another machine: what it carries, and what it complains of."""

    def __init__(self, call: Sequence[str]) -> None:
        self.stream, theirs = socket.socketpair()  # a socket, unlike pipes, can be read with a time limit
        self.stream.settimeout(_START_S)
        with theirs, ExitStack() as on_failure:
            on_failure.enter_context(self.stream)
            self._complaints = on_failure.enter_context(tempfile.TemporaryFile())
            end = theirs.fileno()
            self._process = subprocess.Popen(call, stdin=end, stdout=end, stderr=self._complaints)
            on_failure.pop_all()

    def complaint(self) -> str:
        """Its last line on stderr, once it has had time to end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        file = self._complaints.fileno()
        end = os.pread(file, _COMPLAINT_BYTES, max(0, os.fstat(file).st_size - _COMPLAINT_BYTES))
        return end.decode(errors="replace").strip().rpartition("\n")[2].strip()

    def close(self) -> None:
        self.stream.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()


def _close(writer: BinaryIO, reader: BinaryIO, stream: socket.socket, ssh: _Ssh | None) -> None:
    with suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):  # what was not sent is of no use now
        writer.close()
    reader.close()
    (ssh or stream).close()
