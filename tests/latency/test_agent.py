"""What happens to an agent, by its limits, a signal or its end, is one clear error for its clients."""

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import TargetError

Network = Callable[..., bytes]
RunAgent = Callable[..., AbstractContextManager[Any]]
IMAGE = {"x": np.zeros((1, 3, 8, 8), np.uint8)}
LARGE_IMAGE = {"x": np.zeros((1, 3, 256, 256), np.uint8)}
LIMITED = """
import sys
from nas.latency.agent import Agent
agent = Agent(limit_bytes=1_000_000, idle_s=0.3, wait_s=0.2)
print("listening on %s:%d" % agent.address, file=sys.stderr, flush=True)
agent.serve()
"""


def test_an_agent_with_limits(network: Network, running: RunAgent, slow: bytes) -> None:
    with running("-c", LIMITED) as agent:
        target = agent.target(None)
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0
        with pytest.raises(TargetError, match="must have at most 1000000 bytes"):
            target.measure(network(), {"x": np.zeros(1_000_000, np.uint8)})
        with agent.client() as (reader, _):
            assert reader.read() == b""  # who sends nothing is left
        assert target.measure(network(), IMAGE, seconds=0.02).p50_ms > 0  # which the target does not notice
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(agent.target(None).measure, slow, LARGE_IMAGE, seconds=1)
            agent.wait_until_measuring()
            with pytest.raises(TargetError, match="is busy for another client"):
                target.measure(network(), IMAGE, seconds=0.02)
            assert job.result().p50_ms > 0


def test_an_agent_killed_in_a_measurement_and_started_again(
    network: Network, running: RunAgent, token_file: Path, slow: bytes
) -> None:
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
    running: RunAgent, token_file: Path, slow: bytes, monkeypatch: pytest.MonkeyPatch
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
def test_sigterm_ends_an_agent_well(running: RunAgent, token_file: Path, slow: bytes, busy: bool) -> None:
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
