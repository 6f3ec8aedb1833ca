"""The targets that must keep the contract of `Target`."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager as ContextManager
from contextlib import closing, contextmanager, nullcontext
from threading import Thread

import pytest

from nas.latency import LocalTarget, Target
from nas.latency.agent import Agent
from nas.latency.browser import BrowserTarget
from nas.latency.openvino import OpenVino
from nas.latency.quantized import Int8
from nas.latency.remote import RemoteTarget


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
