"""A cost that is only predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from nas.errors import StudyError

__all__ = ["Interval"]


@final
@dataclass(frozen=True)
class Interval:
    """A cost that is only predicted: it is most likely `value`, and hardly below `low` or above `high`."""

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise StudyError(f"an interval must have low <= value <= high, but got {self}; order its ends")
