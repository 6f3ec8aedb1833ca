"""Ask a target what candidates of a search really take, each exit once."""

from __future__ import annotations

from typing import final

from nas.bundle import Latency
from nas.latency.segments import measure_exit
from nas.latency.target import Target
from nas.space import Candidate

__all__ = ["MeasuredLatency"]


@final
class MeasuredLatency:
    """Measures an exit of a network when it is first asked for, for at most about so many seconds."""

    def __init__(self, target: Target, *, seconds: float = 2.0) -> None:
        self.target = target
        self._seconds = seconds
        self._known: dict[tuple[str, int], Latency] = {}

    def __call__(self, candidate: Candidate, exit: int | None = None) -> Latency:
        """Latency up to one exit, by default the last."""
        last = len(candidate.graph.exits) - 1
        key = candidate.id, last if exit is None else exit
        if key not in self._known:
            self._known[key] = measure_exit(self.target, candidate.graph, exit, seconds=self._seconds)
        return self._known[key]
