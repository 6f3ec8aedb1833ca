"""What images take that leave a network at different exits: their ways, each measured, and the mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, final

import numpy as np

from nas.bundle import IMAGE, STATE, Bundle, Latency, Level
from nas.cascade import CascadeCost
from nas.latency.target import Target

__all__ = ["Way", "WayTimes", "mean_latency", "measure_files", "ways_of"]


@final
class Way(NamedTuple):
    """Through one model to an exit, with the exits that are asked before."""

    model: str
    exit: int
    asked: tuple[int, ...] = ()


def ways_of(level: Level) -> dict[Way, float]:
    """The ways of a level and what share of the images takes each, the longest last.

    Without shares all take the longest.
    """
    limits = (level.thresholds or ())[: level.exit]
    asked = [exit for exit, limit in enumerate(limits) if limit <= 1]
    shares = dict(enumerate(level.shares or ())) if level.shares else {level.exit: 1.0}
    return {
        Way(level.model, exit, tuple(before for before in asked if before < exit)): shares.get(exit, 0.0)
        for exit in sorted({*asked, level.exit})
        if shares.get(exit, 0.0) or exit == level.exit
    }


def mean_latency(ways: Mapping[Way, float], measured: Mapping[Way, Latency]) -> Latency:
    """Of an image on average; what tells of single runs, such as the 95th percentile, is of the longest."""
    longest = measured[list(ways)[-1]]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        pairs = zip(known, ways.values(), strict=True)
        return sum(value * share for value, share in pairs) if len(known) == len(ways) else None

    each = [measured[way] for way in ways]
    p50_ms = mean([latency.p50_ms for latency in each])
    assert p50_ms is not None, "every latency has a median"
    energy_mj = mean([latency.energy_mj for latency in each])
    return Latency(
        p50_ms=p50_ms,
        p95_ms=longest.p95_ms,
        spread=longest.spread,
        runs=longest.runs,
        target=longest.target,
        low_ms=mean([latency.low_ms for latency in each]),
        high_ms=mean([latency.high_ms for latency in each]),
        slowdown=longest.slowdown,
        power_w=None if energy_mj is None else energy_mj / p50_ms,
    )


def measure_files(
    target: Target, bundle: Bundle, name: str, exit: int, *, seconds: float, asked: Iterable[int] = ()
) -> Latency:
    """Latency of one exit of a network: its files, and no others, run on a random image.

    Heads that are `asked` on the way run too, as for an image of which none of them is sure.
    """
    model = bundle.model(name)
    inputs = {IMAGE: np.random.default_rng(0).integers(0, 256, (1, *bundle.input_shape), np.uint8)}
    if model.readout.remembers:
        inputs[STATE] = np.zeros((1, len(bundle.classes) + 1), np.float32)
    files = [bundle.read(segment) for segment in model.segments_at(exit, asked)]
    return target.time(files, inputs, seconds=seconds).latency()


@final
class WayTimes:
    """Latencies of the ways through one network of a bundle, each measured when it is first asked for.

    Each for at most about so many `seconds`; what is `known` is not measured again.
    """

    def __init__(
        self,
        target: Target,
        bundle: Bundle,
        model: str,
        *,
        seconds: float = 2.0,
        known: Mapping[Way, Latency] | None = None,
    ) -> None:
        self._target, self._bundle, self._model, self._seconds = target, bundle, model, seconds
        self._known = dict(known or {})

    def latency(self, way: Way) -> Latency:
        if self._bundle.model(self._model).readout.needs_all_heads:
            way = way._replace(asked=())  # an exit runs them anyhow
        if way not in self._known:
            self._known[way] = measure_files(
                self._target, self._bundle, way.model, way.exit, seconds=self._seconds, asked=way.asked
            )
        return self._known[way]

    def costs(self) -> CascadeCost:
        """Milliseconds of trunks and heads, from which thresholds are solved."""
        exits = range(self._bundle.model(self._model).exits)
        alone = [self.latency(Way(self._model, exit)).p50_ms for exit in exits]
        asking = [self.latency(Way(self._model, exit, tuple(range(exit)))).p50_ms for exit in exits]
        return CascadeCost.of_paths("latency_ms", alone, asking)
