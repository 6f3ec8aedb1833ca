"""The targets that must keep the contract of `Target`."""

import shutil
from collections.abc import Callable, Mapping

import pytest

from nas.latency import LocalTarget, Target
from nas.latency.browser import BrowserTarget
from nas.latency.openvino import OpenVino
from nas.latency.quantized import Int8

TARGETS: Mapping[str, Callable[[], Target]] = {
    "local": LocalTarget,
    "openvino": lambda: LocalTarget(engine=OpenVino()),
    "int8": lambda: Int8(LocalTarget()),
    "browser": BrowserTarget,
}

# Chromium takes seconds to start.
PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name == "browser" else name for name in TARGETS]


@pytest.fixture(scope="module", params=PARAMS)
def target(request: pytest.FixtureRequest) -> Target:
    if request.param == "browser" and shutil.which("chromium") is None:
        pytest.skip("chromium is not on PATH")
    return TARGETS[request.param]()
