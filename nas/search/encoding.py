"""Networks as points, such that those which are alike are near."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from nas.choices import Option

__all__ = ["Array", "Encoding", "Points"]

Array = NDArray[np.float64]
Points = tuple[Array, ...]
"""Blocks `(networks, columns)`. A distance is the sum of those of the blocks, each with its own scale."""


@final
class Encoding:
    """Turns networks into points of two blocks: their choices, and the logarithms of their costs.

    Two networks that differ in all choices are about 1 apart in the first. There a choice has a column for
    each option, so that different options are equally far from each other; numbers have one more, in which
    they are in order. A choice that a network does not ask is zero everywhere: half as far from any option
    as they are from each other. In the second block each cost has variance 1.
    """

    def __init__(self, choices: Sequence[Mapping[str, Option]], costs: Array) -> None:
        options: dict[str, dict[Option, None]] = {}
        for answers in choices:
            for name, option in answers.items():
                options.setdefault(name, {})[option] = None
        asked = {name: list(found) for name, found in options.items() if len(found) > 1}
        self._columns: dict[tuple[str, Option], tuple[int, int, float]] = {}
        self._width = 0
        scale = 1 / math.sqrt(2 * max(1, len(asked)))
        for name, found in asked.items():
            places = _places(found)
            for column, option in enumerate(found):
                place = places.get(option, 0.0) * scale * math.sqrt(2)
                self._columns[name, option] = (self._width + column, self._width + len(found), place)
            self._width += len(found) + 1
        self._scale = scale
        logs = np.log(np.maximum(costs, 1e-12))
        self._mean, self._deviation = logs.mean(0), np.maximum(logs.std(0), 1e-9)

    def __call__(self, choices: Sequence[Mapping[str, Option]], costs: Array) -> Points:
        block = np.zeros((len(choices), self._width))
        for row, answers in enumerate(choices):
            for answer in answers.items():
                if answer in self._columns:
                    column, order, place = self._columns[answer]
                    block[row, column] = self._scale
                    block[row, order] = place
        return block, (np.log(np.maximum(costs, 1e-12)) - self._mean) / self._deviation


def _places(options: Sequence[Option]) -> dict[Option, float]:
    """Where numbers stand among the options, from 0 for the least to 1 for the largest."""
    numbers = sorted(
        option for option in options if isinstance(option, int | float) and not isinstance(option, bool)
    )
    return (
        {option: rank / (len(numbers) - 1) for rank, option in enumerate(numbers)} if len(numbers) > 1 else {}
    )
