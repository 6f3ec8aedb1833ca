"""Arguments that several commands share, and the checks of their values."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

__all__ = ["add_folder", "add_json", "natural", "objective", "positive", "shape"]


def add_folder(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder that nas search filled")


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, but got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"must be a whole number of at least 0, but got {text!r}")
    return int(text)


def objective(text: str) -> str:
    """A direction and a metric, as in `minimize:latency_ms`."""
    direction, _, metric = text.partition(":")
    if direction not in ("maximize", "minimize") or not metric or ":" in metric:
        raise ArgumentTypeError(f"must be maximize:METRIC or minimize:METRIC, but got {text!r}")
    return text


def shape(text: str) -> tuple[int, ...]:
    """Channels, height and width, as in `3,32,32`."""
    sizes = text.split(",")
    if len(sizes) != 3:
        raise ArgumentTypeError(f"must be channels,height,width such as 3,32,32, but got {text!r}")
    return tuple(map(positive, sizes))
