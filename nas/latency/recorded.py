"""Keep what a target measured in a file, and answer from that file without the target."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import final

import numpy as np

from nas.errors import TargetError
from nas.files import save_json
from nas.latency.target import Inputs, Target
from nas.latency.timing import Timing

__all__ = ["RecordedTarget", "Recorder"]

_FORMAT = "nas-dial-recording"
_VERSION = 1
_PARTS = 4  # into which nas.latency.timing.precision divides the rounds
_ROUNDS = 16  # kept of each part


@final
class Recorder(Target):
    """A target that also keeps each measurement in a JSON file, which it goes on with where there is one.

    Of the rounds of a measurement the quietest 64 at most are kept. That leaves `p50_ms`, `low_ms`, `high_ms`
    and `slowdown` of all models together as they were, and those of a part of the models nearly. What is
    lost is the slower rounds: `runs` come out less, and mostly `p95_ms` and `spread` too. Where the same is
    measured again, the later measurement counts. One process at a time may write a file.
    """

    def __init__(self, target: Target, path: str | Path) -> None:
        self._target = target
        self._path = Path(path)
        self._timings: dict[str, Timing] = {}
        if self._path.exists():
            found, self._timings = _load(self._path)
            if found != self.identity:
                raise TargetError(
                    f"{path} must be a recording of {self.identity!r}, but is of {found!r}; name another file"
                )

    @property
    def identity(self) -> str:
        return self._target.identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        timing = self._target.time(models, inputs, seconds=seconds)
        self._timings[_key(models, inputs)] = _quietest(timing)
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "target": self.identity,
            "entries": {key: kept.to_json() for key, kept in self._timings.items()},
        }
        try:
            save_json(self._path, record)
        except OSError as error:
            raise TargetError(f"{self._path} must be writable, but is not: {error}; name another") from error
        return timing


@final
class RecordedTarget(Target):
    """Answers with what a `Recorder` kept, under the identity of the target that was recorded."""

    def __init__(self, identity: str, timings: Mapping[str, Timing]) -> None:
        self._identity = identity
        self._timings = timings

    @staticmethod
    def load(path: str | Path) -> RecordedTarget:
        """`TargetError` where the file is not there, damaged or of another version."""
        return RecordedTarget(*_load(Path(path)))

    @property
    def identity(self) -> str:
        return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        """The measurement of exactly these models and inputs; `TargetError` where there is none."""
        key = _key(models, inputs)
        if key not in self._timings:
            raise TargetError(
                "models must have been recorded with just these inputs, but the recording of "
                f"{self._identity!r} holds {len(self._timings)} others and no {key}; measure them on the "
                "target and record it"
            )
        return self._timings[key]


def _key(models: Sequence[bytes], inputs: Inputs) -> str:
    """A hash of all that a measurement is of; a head with every length keeps the bytes apart."""
    arrays = sorted(inputs.items())
    head = [[len(model) for model in models], [(name, a.dtype.str, a.shape) for name, a in arrays]]
    digest = sha256(json.dumps(head).encode() + b"\n")
    for part in (*models, *(array.tobytes() for _, array in arrays)):
        digest.update(part)
    return digest.hexdigest()


def _quietest(timing: Timing) -> Timing:
    """The quietest rounds of each part, in turns, so that every round stays in its part."""
    count = len(timing.rounds)
    if count <= _PARTS * _ROUNDS:
        return timing
    medians_s = [float(np.median(times_s.sum(axis=1))) for times_s in timing.rounds]
    # The slowdown follows from this round's reference time.
    calmest = int(np.argmin(timing.reference_s)) if timing.reference_s else None

    def loudness(place: int) -> tuple[bool, float]:
        return place != calmest, medians_s[place]

    parts = [sorted(range(part, count, _PARTS), key=loudness)[:_ROUNDS] for part in range(_PARTS)]
    places = [place for turn in zip(*map(sorted, parts), strict=True) for place in turn]
    reference_s = tuple(timing.reference_s[place] for place in places) if timing.reference_s else ()
    return replace(timing, rounds=tuple(timing.rounds[place] for place in places), reference_s=reference_s)


def _load(path: Path) -> tuple[str, dict[str, Timing]]:
    """The target's identity and the measurements by key."""
    try:
        record = json.loads(path.read_bytes())
        if (record["format"], record["version"]) != (_FORMAT, _VERSION):
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        identity = str(record["target"])
        timings = {key: Timing.from_json(values) for key, values in record["entries"].items()}
        if any(timing.target != identity for timing in timings.values()):
            raise ValueError("entries of several targets")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise TargetError(
            f"{path} must be a recording, version {_VERSION}, but is not: {error!r}; record the target again"
        ) from error
    return identity, timings
