"""The name of this machine's processor."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from pathlib import Path

__all__ = ["chip_name"]

_MODEL = Path("/proc/device-tree/model")  # of a board: `Raspberry Pi 5 Model B Rev 1.0`
_CPU = Path("/proc/cpuinfo")


def chip_name() -> str:
    """The processor's or board's name where the system tells it, else its architecture."""
    with suppress(OSError):
        for line in _CPU.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    with suppress(OSError):
        return _MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    if platform.system() == "Darwin":
        with suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()
