"""Learn how fast a target runs the networks of a space, and keep it in a file."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic
from typing import final

from nas.errors import SpaceError, TargetError
from nas.files import save_json
from nas.latency.predictor import Predictor, Sample, fit_predictor
from nas.latency.segments import measure_exits
from nas.latency.target import Target
from nas.op import Shape
from nas.space import Architecture, SearchSpace

__all__ = ["Calibration", "Measured", "calibrate"]

_FORMAT = "nas-dial-calibration"
_VERSION = 1
_SECONDS = 0.25  # for each network at most; most need half of that
_DISTURBED = 1.06  # by what factor a time may be too long before the network is measured again
_SECOND_TRY = 0.3  # the share of the time kept for that
_FAILURES, _LOST = 3, 0.05  # so many networks, and this share, may fail on the target
_DAMAGES = (ValueError, KeyError, TypeError, AttributeError, SpaceError, OverflowError, RecursionError)
_REPEATED = 500  # networks in a row that were measured before, at which a space counts as exhausted


@final
@dataclass(frozen=True)
class Measured:
    """A network of a space and the milliseconds to each of its exits."""

    architecture: Architecture
    exits_ms: tuple[float, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was measured on a target of the networks of a space, and the predictor learned from it."""

    space: str
    input_shape: Shape
    num_classes: int
    measured: tuple[Measured, ...]
    predictor: Predictor

    @property
    def target(self) -> str:
        """Identity of the target."""
        return self.predictor.target

    @staticmethod
    def of(space: SearchSpace, target: str, measured: Sequence[Measured]) -> Calibration:
        """`TargetError` for too few networks."""
        samples = [Sample(space.graph(network.architecture), network.exits_ms) for network in measured]
        return Calibration(
            space=space.name,
            input_shape=space.input_shape,
            num_classes=space.num_classes,
            measured=tuple(measured),
            predictor=fit_predictor(samples, target),
        )

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
        by_time = sorted(self.measured, key=lambda network: network.exits_ms[-1])
        count = min(networks, len(by_time))
        chosen = [by_time[(2 * place + 1) * len(by_time) // (2 * count)] for place in range(count)]
        return statistics.median(
            _measured(target, space, network.architecture)[0].exits_ms[-1] / network.exits_ms[-1]
            for network in chosen
        )

    def save(self, path: str | Path) -> None:
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "space": self.space,
            "input_shape": list(self.input_shape),
            "num_classes": self.num_classes,
            "predictor": self.predictor.to_json(),
            "networks": [
                {"id": network.architecture.id, "choices": dict(network.architecture.choices),
                 "exits_ms": list(network.exits_ms)}
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
            predictor = Predictor.from_json(record["predictor"])
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


def calibrate(
    space: SearchSpace, target: Target, *, seconds: float, seed: int = 0, known: Sequence[Measured] = ()
) -> Iterator[tuple[Measured, ...]]:
    """Measure random networks for so long; gives, after each, all measured so far, with `known` ones.

    In the last third of the time, or once a space has no more, networks that were disturbed are measured
    once more, those most disturbed first. `TargetError` where the target fails for more than a few networks,
    or for all there was time for.
    """
    found = {network.architecture.id: network for network in known}
    begin, failures, disturbed = monotonic(), 0, list[tuple[float, Architecture]]()
    proposals = _proposals(space, seed, set(found))
    while (spent := (monotonic() - begin) / seconds) < 1:
        before, again = math.inf, spent > 1 - _SECOND_TRY and bool(disturbed)
        architecture = None if again else next(proposals, None)
        if architecture is None:
            if not disturbed:
                return
            disturbed.sort(key=lambda network: network[0])
            (before, architecture), again = disturbed.pop(), True
        try:
            network, disturbance = _measured(target, space, architecture)
        except TargetError:
            failures += 1
            is_over = monotonic() - begin >= seconds and not found
            if is_over or failures > _FAILURES + _LOST * len(found):
                raise
            continue
        if disturbance > _DISTURBED and not again:
            disturbed.append((disturbance, architecture))
        if disturbance < before or architecture.id not in found:
            found[architecture.id] = network
        yield tuple(found.values())


def _read_times(exits_ms: Sequence[float]) -> tuple[float, ...]:
    times_ms = tuple(map(float, exits_ms))
    if not times_ms or not all(0 < ms < math.inf for ms in times_ms):
        raise ValueError(f"times must be finite and above 0, but are {times_ms}")
    return times_ms


def _proposals(space: SearchSpace, seed: int, seen: set[str]) -> Iterator[Architecture]:
    """Different random networks, until there seem to be no more."""
    rng, repeated = Random(seed), 0
    while repeated < _REPEATED:
        try:
            architecture = space.sample(rng)
        except SpaceError:  # choices that build no network
            repeated += 1
            if repeated == _REPEATED and not seen:
                raise
            continue
        repeated = repeated + 1 if architecture.id in seen else 0
        if not repeated:
            seen.add(architecture.id)
            yield architecture


def _measured(target: Target, space: SearchSpace, architecture: Architecture) -> tuple[Measured, float]:
    """A network's times, and by what factor they may be too long."""
    exits = measure_exits(target, space.graph(architecture), seconds=_SECONDS)
    last = exits[-1]
    disturbance = last.high_ms / last.p50_ms if last.high_ms else math.inf
    return Measured(architecture, tuple(exit.p50_ms for exit in exits)), disturbance
