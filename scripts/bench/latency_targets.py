"""Other targets beside the local one: the agent, with and without faults, and a browser."""

from __future__ import annotations

import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from statistics import mean
from tempfile import TemporaryDirectory
from typing import BinaryIO, final

from latency_predictor import load
from record import ROOT, Record, Row

from nas import Graph
from nas.errors import TargetError
from nas.latency import Target, measure_exit
from nas.latency.browser import BrowserTarget
from nas.latency.protocol import Message, prove, read_message, write_message
from nas.latency.remote import RemoteTarget

MEASURED, FAULTS = "targets.csv", "agent_faults.csv"
TOKEN = "a token for this run only"
SLOW_SIZE = 256  # of an image, with which a measurement lasts until something happens to it


def collect(record: Record, local: Target, *, networks: int, seconds: float) -> None:
    """Networks on each target and again on the local one; then what faults do to the agent."""
    space, rng = load("mixed"), Random(9)
    graphs = [space.graph(space.sample(rng)) for _ in range(networks)]
    with running_agent() as agent:
        if not record.rows(MEASURED):
            targets: dict[str, Target] = {"agent": agent.target()}
            if shutil.which("chromium"):
                targets["browser"] = BrowserTarget()
            rows = [_compared(name, target, local, graphs, seconds) for name, target in targets.items()]
            for row in [row for found in rows for row in found]:
                record.add(MEASURED, row)
        done = {row["fault"] for row in record.rows(FAULTS)}
        for name, fault in _FAULTS.items():
            if name not in done:
                told = fault(agent, graphs[0])
                failure = _told(lambda: measure_exit(agent.target(), graphs[0], seconds=0.1))
                record.add(FAULTS, {"fault": name, "told": told, "measures_afterwards": failure or "yes"})


def _compared(
    name: str, target: Target, local: Target, graphs: list[Graph], seconds: float
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for graph in graphs:
        first, there, second, again = (
            measure_exit(machine, graph, seconds=seconds).p50_ms for machine in (local, target) * 2
        )
        row = {"target": name, "network": graph.id, "local_ms": first, "local_again_ms": second}
        rows.append(row | {"there_ms": there, "there_again_ms": again})
    return rows


@final
class Agent:
    """A process of its own, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self._options = ("--token-file", str(folder / "token"))
        (folder / "token").write_text(TOKEN)
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "nas", "agent", "--port", str(self.port), *self._options]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        self.port = int(self.process.stderr.readline().rpartition(":")[2])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()

    def target(self, token: str = TOKEN) -> RemoteTarget:
        return RemoteTarget.tcp("127.0.0.1", self.port, token)

    @contextmanager
    def conversation(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """What a client with the token reads and writes."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as stream,
            stream.makefile("rb") as reader,
            stream.makefile("wb") as writer,
        ):
            (nonce,) = read_message(reader).payloads
            write_message(writer, Message("proof", payloads=(prove(TOKEN, nonce),)))
            read_message(reader)
            yield reader, writer

    def answer(self, data: bytes) -> str:
        """What the client is told that sends these bytes."""
        with self.conversation() as (reader, writer):
            with suppress(OSError):
                writer.write(data)
                writer.flush()
            return str(read_message(reader).fields["reason"])


@contextmanager
def running_agent() -> Iterator[Agent]:
    with TemporaryDirectory() as folder:
        agent = Agent(Path(folder))
        try:
            yield agent
        finally:
            agent.end()


def _frame(header: object, version: int = 1) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack(">8sHI", b"nas-dial", version, len(text)) + text


def _told(measure: Callable[[], object]) -> str:
    try:
        measure()
    except TargetError as error:
        return str(error)
    return ""


def _wrong_token(agent: Agent, graph: Graph) -> str:
    return _told(lambda: measure_exit(agent.target("another"), graph))


def _killed(agent: Agent, graph: Graph) -> str:
    large = load("mixed").at((3, SLOW_SIZE, SLOW_SIZE), 10)
    slow = large.graph(large.sample(Random(0)))
    target = agent.target()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(_told, lambda: measure_exit(target, slow, seconds=20))
        with suppress(TimeoutError):
            job.result(timeout=2)
        agent.end()
        told = job.result()
    agent.start()
    return told


def _cut(agent: Agent, graph: Graph) -> str:
    """A client that leaves in the middle of what it sends; nobody is there to be told."""
    with agent.conversation() as (_, writer):
        writer.write(_frame({"kind": "time", "fields": {}, "sizes": [2**20]}) + bytes(1000))
        writer.flush()
    return "(it has left)"


def _two_clients(agent: Agent, graph: Graph) -> str:
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(measure_exit, agent.target(), graph, seconds=0.3) for _ in range(2)]
        times_ms = [job.result().p50_ms for job in jobs]
    return f"both measured, {100 * abs(times_ms[0] / times_ms[1] - 1):.1f} % apart"


_FAULTS: dict[str, Callable[[Agent, Graph], str]] = {
    "wrong token": _wrong_token,
    "garbage bytes": lambda agent, graph: agent.answer(bytes(100_000)),
    "wrong protocol version": lambda agent, graph: agent.answer(_frame({}, version=9)),
    "1 GB upload": lambda agent, graph: agent.answer(
        _frame({"kind": "time", "fields": {}, "sizes": [2**30]}) + bytes(2**24)
    ),
    "connection cut in an upload": _cut,
    "agent killed in a measurement, started again": _killed,
    "two clients at once": _two_clients,
}


def figures(rows: list[Row]) -> dict[str, float]:
    """Mean differences in percent: of the local target with itself and with the agent."""
    own = [row for row in rows if row["target"] == "agent"]

    def apart(first: str, second: str) -> float:
        return 100 * mean(abs(float(row[first]) / float(row[second]) - 1) for row in own)

    return {
        "local_repeat_pct": apart("local_ms", "local_again_ms"),
        "agent_repeat_pct": apart("there_ms", "there_again_ms"),
        "agent_to_local_pct": apart("there_ms", "local_ms"),
    }


def markdown(measured: list[Row], faults: list[Row]) -> str:
    """The networks in the browser, and what faults do."""
    browser = [row for row in measured if row["target"] == "browser"]
    lines = ["", "| fault | what the client is told | measures afterwards |", "| --- | --- | --- |"]
    lines += [f"| {row['fault']} | {row['told']} | {row['measures_afterwards']} |" for row in faults]
    if browser:
        lines += ["", "| network | local ms | browser ms | again |", "| --- | --: | --: | --: |"]
    lines += [
        f"| {row['network'][:8]} | {float(row['local_ms']):.3f} | {float(row['there_ms']):.3f} | "
        f"{float(row['there_again_ms']):.3f} |"
        for row in browser
    ]
    return "\n".join(lines)
