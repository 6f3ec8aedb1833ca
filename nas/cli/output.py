"""Writes results to stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from nas.report.tables import Table

__all__ = ["say", "saying_warnings", "write_json", "write_table"]


def say(text: str) -> None:
    """A line for people, beside the result."""
    print("nas:", text, file=sys.stderr)


@contextmanager
def saying_warnings() -> Iterator[None]:
    """Say what the library warns of inside in one line each, without the places in its code."""
    found: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", UserWarning)
            yield
    finally:
        own = [warning for warning in found if warning.category is UserWarning]
        for text in dict.fromkeys(str(warning.message) for warning in own):
            say(text)
        for other in found:
            if other not in own:
                warnings.showwarning(other.message, other.category, other.filename, other.lineno)


def write_json(values: object) -> None:
    print(json.dumps(values, indent=2, allow_nan=False))


def write_table(table: Table) -> None:
    """Numbers at the right of their column, texts at the left."""
    lines = (table.header, *table.rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = table.numeric or (False,) * len(widths)
    for line in lines:
        cells = zip(line, widths, numeric, strict=True)
        print(
            "  ".join(
                f"{cell:>{width}}" if right else f"{cell:<{width}}" for cell, width, right in cells
            ).rstrip()
        )
