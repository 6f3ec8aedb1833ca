"""Files that are there whole or not at all, whatever interrupts their writing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["save_json", "whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; what is written there takes the place of `path` at the end.

    It is on the disk by then, so that not even a crash of the machine leaves half of it. After an error
    `path` is as before. An `OSError` where the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def save_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON as a whole file."""
    with whole_file(path) as part:
        part.write_text(json.dumps(values, indent=2), encoding="utf-8")
