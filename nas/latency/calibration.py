"""What is known of how fast a target runs the networks of a space, and the file that keeps it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

from nas.errors import SpaceError, TargetError
from nas.files import save_json
from nas.interval import Interval
from nas.latency.prediction import Predictor, Sample
from nas.latency.predictor import LayerPredictor, fit_predictor
from nas.latency.segments import measure_exit
from nas.latency.target import Target
from nas.latency.transfer import TransferredPredictor, transfer_predictor
from nas.op import Shape
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Calibration", "Measured"]

_FORMAT = "nas-dial-calibration"
_VERSION = 3
_DRIFT_S = 0.5  # for each network
_DAMAGES = (ValueError, KeyError, TypeError, AttributeError, SpaceError, OverflowError, RecursionError)
_KINDS: Mapping[str, Callable[[Any], Predictor]] = MappingProxyType(
    {kind.__name__: kind.from_json for kind in (LayerPredictor, TransferredPredictor)}
)
_REMEASURED = 1.25  # the most by which a measured network may come out otherwise


@final
@dataclass(frozen=True)
class Measured:
    """A network of a space and the milliseconds to its last exit and some of the others, by number."""

    architecture: Architecture
    exits_ms: Mapping[int, float]

    @property
    def last_ms(self) -> float:
        """Milliseconds to the last exit."""
        return self.exits_ms[max(self.exits_ms)]


@final
@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured on a target of the networks of a space, and the predictor learned from it.

    It is a cost function: called with a candidate, it tells milliseconds and how far these may be off.
    """

    space: str
    input_shape: Shape
    num_classes: int
    measured: tuple[Measured, ...]
    predictor: Predictor

    @property
    def target(self) -> str:
        """Identity of the target."""
        return self.predictor.target

    def __call__(self, candidate: Candidate, exit: int | None = None) -> Interval:
        """Milliseconds up to an exit, by default the last; open above if a kind of layer was never seen."""
        exit = len(candidate.graph.exits) - 1 if exit is None else exit
        ms = self._exits_ms.get(candidate.id, {}).get(exit)
        ratio = self.predictor.ratio(candidate.graph, exit)
        if ms is None:
            ms = self.predictor(candidate.graph, exit)
        else:
            ratio = min(ratio, _REMEASURED)
        if math.isinf(ms):  # a kind of layer was never seen
            return Interval(0.0, self.predictor.guess(candidate.graph, exit), math.inf)
        return Interval(ms / ratio, ms, ms * ratio)

    @staticmethod
    def of(
        space: SearchSpace, target: str, measured: Sequence[Measured], known: Calibration | None = None
    ) -> Calibration:
        """Learn from what was measured; `TargetError` for too few networks.

        With `known`, a calibration of the space on another target, ten networks tell much already. Where
        that was transferred itself, what it came from counts.
        """
        samples = [Sample(space.graph(network.architecture), network.exits_ms) for network in measured]
        layers = fit_predictor(samples, target)
        predictor = layers if known is None else known._transferred(space, samples, layers)
        return Calibration(
            space=space.name,
            input_shape=space.input_shape,
            num_classes=space.num_classes,
            measured=tuple(measured),
            predictor=predictor,
        )

    def _transferred(
        self, space: SearchSpace, samples: Sequence[Sample], layers: LayerPredictor
    ) -> Predictor:
        """What predicts the other target best: `layers` alone, or what is known of this one, corrected."""
        self.check(space)
        if not self.measured:
            raise TargetError("a known calibration must hold networks, but has none; calibrate again")
        known = self.predictor.known if isinstance(self.predictor, TransferredPredictor) else self.predictor
        assert isinstance(known, LayerPredictor), "there is no other kind of predictor"
        graphs = [space.graph(network.architecture) for network in self.measured]
        try:
            transferred = transfer_predictor(known, graphs, samples, layers.target)
        except TargetError:  # too few of the networks have only layers that the known target has
            return layers
        complete = all(layers(graph) < math.inf for graph in graphs)
        return min((layers, transferred), key=_mean_error) if complete else transferred

    def check(self, space: SearchSpace, target: str | None = None) -> None:
        """`TargetError` unless it is of this space, at its shape and classes, and of this target."""
        wanted = (space.name, space.input_shape, space.num_classes, target or self.target)
        found = (self.space, self.input_shape, self.num_classes, self.target)
        if wanted != found:
            raise TargetError(f"a calibration must be of {wanted}, but is of {found}; calibrate again")

    def drift(self, target: Target, space: SearchSpace, *, networks: int = 5) -> float:
        """Median ratio of fresh measurements to those kept, of networks from the fastest to the slowest."""
        if not self.measured:
            raise TargetError("a calibration must hold networks to be checked, but has none; calibrate again")
        by_time = sorted(self.measured, key=lambda network: network.last_ms)
        count = min(networks, len(by_time))
        chosen = [by_time[(2 * place + 1) * len(by_time) // (2 * count)] for place in range(count)]
        return statistics.median(
            measure_exit(target, space.graph(network.architecture), seconds=_DRIFT_S).p50_ms / network.last_ms
            for network in chosen
        )

    @cached_property
    def _exits_ms(self) -> dict[str, Mapping[int, float]]:
        return {network.architecture.id: network.exits_ms for network in self.measured}

    def save(self, path: str | Path) -> None:
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "space": self.space,
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "predictor": {"kind": type(self.predictor).__name__, **self.predictor.to_json()},
            "networks": [
                {"id": network.architecture.id, "choices": dict(network.architecture.choices),
                 "exits_ms": {str(exit): ms for exit, ms in network.exits_ms.items()}}
                for network in self.measured
            ],
        }  # fmt: skip
        try:
            save_json(Path(path), record)
        except OSError as error:
            raise TargetError(f"{path} must be writable, but is not: {error}; name another file") from error

    @staticmethod
    def load(path: str | Path) -> Calibration:
        """What `save` wrote; `TargetError` where the file is not there, damaged or of another version."""
        try:
            record = json.loads(Path(path).read_bytes())
            if (record["format"], record["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
            space, shape, classes = record["space"], tuple(record["input_shape"]), record["num_classes"]
            measured = tuple(
                Measured(
                    Architecture.from_json(
                        {"space": space, "input_shape": shape, "num_classes": classes, **network}
                    ),
                    _read_times(network["exits_ms"]),
                )
                for network in record["networks"]
            )
            predictor = _KINDS[record["predictor"]["kind"]](record["predictor"])
        except (OSError, *_DAMAGES) as error:
            raise TargetError(
                f"{path} must be a calibration, version {_VERSION}, but is not: {error!r}; calibrate again"
            ) from None
        return Calibration(
            space=space,
            input_shape=shape,
            num_classes=classes,
            measured=measured,
            predictor=predictor,
        )


def _mean_error(predictor: Predictor) -> float:
    return predictor.errors.mean_ratio


def _read_times(exits_ms: Mapping[str, float]) -> dict[int, float]:
    times_ms = {int(exit): float(ms) for exit, ms in exits_ms.items()}
    if not times_ms or min(times_ms) < 0 or not all(0 < ms < math.inf for ms in times_ms.values()):
        raise ValueError(f"times must be finite and above 0, of exits from 0, but are {times_ms}")
    return times_ms
