"""The processor is named as the system names it."""

import platform
import re
from pathlib import Path

import pytest

from nas.latency.chip import chip_name


def test_the_name_is_one_line() -> None:
    assert chip_name().strip() == chip_name() != ""
    assert "\n" not in chip_name()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ARM kernels name no model in /proc/cpuinfo")
def test_the_name_is_that_of_the_kernel() -> None:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*: (.*)$", lines, re.MULTILINE)
    assert found and found[1].strip() == chip_name()
