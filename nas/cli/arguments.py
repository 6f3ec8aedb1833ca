"""Arguments that several commands share, and the checks of their values."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import Budget
from nas.data import load_data
from nas.errors import BudgetError, SpaceError
from nas.metric import METRICS, split_key
from nas.op import Shape
from nas.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from nas.latency import Calibration

__all__ = [
    "OBJECTIVES",
    "add_binding",
    "add_energy",
    "add_folder",
    "add_json",
    "natural",
    "objective",
    "positive",
    "read_binding",
    "read_budget",
    "read_settings",
    "several",
    "shape",
    "shares",
    "whole_numbers",
]

OBJECTIVES = tuple(name for name in METRICS if name != "energy_mj")
"""What a search on the command line knows of a network, at its last exit or at exit k as METRIC@k."""


def add_folder(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder that nas search filled")


def add_energy(parser: ArgumentParser) -> None:
    """The declared energy of an inference."""
    parser.add_argument(
        "--energy",
        metavar="FORMULA",
        help='what an inference draws, to estimate millijoules by, such as "0.2mJ + 2.5W"',
    )


def read_budget(text: str, energy: str | None) -> Budget:
    """A budget whose limits on energy are those on latency that follow from what is declared."""
    budget = Budget.parse(text)
    if energy:
        from nas.latency import DeclaredEnergy

        return DeclaredEnergy.parse(energy).as_latency(budget)
    if limits := [limit for limit in budget.limits if limit.metric == "energy_mj"]:
        raise BudgetError(
            f"a limit on energy must have a formula to estimate energy by, but {limits[0]} has none; give "
            '--energy, such as "0.2mJ + 2.5W"'
        )
    return budget


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def add_binding(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=shape, metavar="C,H,W", help="shape of an image")
    parser.add_argument("--classes", type=positive, metavar="K", help="number of classes")
    parser.add_argument("--data", metavar="DATA", help="take shape and classes from data, such as digits")


def read_binding(
    arguments: Namespace, default: SearchSpace | Architecture | Calibration
) -> tuple[Shape, int]:
    """The shape and classes asked for, else those of the default; `SpaceError` if asked for in two ways."""
    if not arguments.data:
        return arguments.input or default.input_shape, arguments.classes or default.num_classes
    if (arguments.input, arguments.classes) != (None, None):
        raise SpaceError(
            f"shape and classes must be given in one way, "
            f"but got --data {arguments.data} and --input or --classes; leave out one of them"
        )
    data = load_data(arguments.data)
    return data.input_shape, data.num_classes


def positive(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1)


def several(text: str) -> int:
    """A whole number above 1."""
    return _whole(text, 2)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def objective(text: str) -> str:
    """A direction and a metric, as in `minimize:latency_ms@0`."""
    direction, _, key = text.partition(":")
    if direction not in ("maximize", "minimize") or split_key(key)[0] not in OBJECTIVES:
        raise ArgumentTypeError(
            "must be maximize:METRIC or minimize:METRIC, "
            f"with @k for exit k and METRIC one of {', '.join(OBJECTIVES)}, but got {text!r}"
        )
    return text


def shape(text: str) -> tuple[int, ...]:
    """Channels, height and width, as in `3,32,32`."""
    sizes = text.split(",")
    if len(sizes) != 3:
        raise ArgumentTypeError(f"must be channels,height,width such as 3,32,32, but got {text!r}")
    return tuple(map(positive, sizes))


def shares(text: str) -> tuple[float, ...]:
    """Numbers of at least 0, as in `0.5,0.25,0.25`."""
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(0 <= share < math.inf for share in found):
        raise ArgumentTypeError(f"must be numbers of at least 0 such as 0.5,0.25,0.25, but got {text!r}")
    return found


def whole_numbers(text: str) -> tuple[int, ...]:
    """Whole numbers above 0, as in `1,3,9`."""
    return tuple(positive(part) for part in text.split(","))


def read_settings(text: str, kinds: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """`NAME=VALUE,…` with these names, each once, and their kinds of values."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in kinds or not value:
            raise ArgumentTypeError(
                f"must be NAME=VALUE with NAME one of {', '.join(kinds)}, but got {part!r}"
            )
        if name in found:
            raise ArgumentTypeError(f"must name each setting once, but {name} is named twice")
        try:
            found[name] = kinds[name](value)
        except ValueError:
            raise ArgumentTypeError(f"must give {name} a number, but got {value!r}") from None
    return found


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise ArgumentTypeError(f"must be a whole number of at least {least}, but got {text!r}")
    return int(text)
