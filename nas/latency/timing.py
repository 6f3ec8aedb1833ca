"""What a target reads off its clock, and the latency that follows from it.

Other programs only ever make a run slower, in bursts of milliseconds and in phases of minutes. So passes are
timed in short rounds: the quietest of them is the undisturbed latency. A reference network is timed beside
every round. Where even its quietest round is slower than it has ever been on this target, the whole
measurement fell into a slow phase: it is corrected by as much, and the interval reaches up to what was read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Latency

__all__ = ["Timing"]

_PARTS = 4


@final
@dataclass(frozen=True)
class Timing:
    """Seconds that the models of a network took, round by round, one after another on the same input."""

    rounds: tuple[NDArray[np.float64], ...]
    """For each round an array (passes, models)."""
    reference_s: tuple[float, ...]
    """Median time of the reference network beside each round; empty on a target that has none."""
    floor_s: float
    """The least median time of the reference network that was ever seen on the target."""
    target: str
    power_w: float | None = None
    """Mean power of the whole machine meanwhile, None where it has no meter."""

    @property
    def slowdown(self) -> float:
        """How many times slower than ever the machine was in its quietest round; at least 1."""
        return max(1.0, min(self.reference_s) / self.floor_s) if self.reference_s else 1.0

    def latency(self) -> Latency:
        """Latency of all models together."""
        sums_s = [times_s.sum(axis=1) for times_s in self.rounds]
        every_ms = 1e3 * np.concatenate(sums_s)
        low, median, high, p95 = np.percentile(every_ms, (25, 50, 75, 95)).tolist()
        medians_s = [float(np.median(times_s)) for times_s in sums_s]
        p50_ms = 1e3 * min(medians_s) / self.slowdown
        width = precision(medians_s)
        known = math.isfinite(width)
        return Latency(
            p50_ms=p50_ms,
            p95_ms=max(p95, p50_ms),
            low_ms=p50_ms / width**2 if known else None,
            high_ms=p50_ms * self.slowdown * width**2 if known else None,
            spread=(high - low) / median if median else 0.0,
            runs=len(every_ms),
            slowdown=self.slowdown,
            power_w=self.power_w,
            target=self.target,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "rounds_s": [times_s.tolist() for times_s in self.rounds],
            "reference_s": list(self.reference_s),
            "floor_s": self.floor_s,
            "target": self.target,
            "power_w": self.power_w,
        }

    @staticmethod
    def from_json(values: Any) -> Timing:
        """`ValueError`, `KeyError` or `TypeError` where these are not the values of `to_json`."""
        try:
            rounds = tuple(np.array(times_s, np.float64) for times_s in values["rounds_s"])
            reference_s = tuple(map(float, values["reference_s"]))
            floor_s = float(values["floor_s"])
            power_w = None if values.get("power_w") is None else float(values["power_w"])
        except OverflowError as error:
            raise ValueError(f"times must be numbers of 64 bits: {error}") from error
        models = {times_s.shape[1:] for times_s in rounds if times_s.ndim == 2 and times_s.size}
        sound = len(models) == 1 and all(times_s.ndim == 2 and times_s.size for times_s in rounds)
        single = (floor_s, power_w or 0.0)
        numbers = np.concatenate([*(times_s.ravel() for times_s in rounds), reference_s, single])
        if not sound or not np.isfinite(numbers).all() or numbers.min() < 0 or (reference_s and not floor_s):
            raise ValueError("times must be finite, not below 0, of equally many models in each round")
        return Timing(rounds, reference_s, floor_s, str(values["target"]), power_w)


def precision(medians_s: Sequence[float]) -> float:
    """By what factor the same measurement may come out otherwise: at least 1, infinite for too few rounds.

    Every fourth round is a measurement of its own; the factor lies between the best and the worst of these.
    """
    if len(medians_s) < _PARTS or not min(medians_s):
        return math.inf
    quietest = [min(medians_s[part::_PARTS]) for part in range(_PARTS)]
    return max(quietest) / min(quietest)
