"""Predict milliseconds on a target from a few networks measured there and what is known of another target.

Which networks are slow is much alike on most machines. So the logarithm of the time is linear in that of
the time predicted for the known target, in those of multiplications, parameters, layers and values written,
and in how many layers of each kind and size a network has. The coefficients are drawn towards 0, and that of
the known time towards 0 or 1, the more the less can be learned of them (ridge regression, Hoerl and Kennard
1970; equal to Bayesian linear regression). Whatever predicts networks best that are left out is taken.

HELP (Lee et al., https://arxiv.org/abs/2106.08630) and MultiPredict (Akhauri and Abdelfattah,
https://arxiv.org/abs/2306.02459) learn such transfers with neural networks from many known devices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product, starmap
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from nas.chains import Chain
from nas.errors import TargetError
from nas.graph import Graph
from nas.latency.features import chain_features, running_chains
from nas.latency.prediction import Errors, Intervals, Predictor, Sample, are_last_exits, check_enough
from nas.latency.predictor import LayerPredictor

__all__ = ["TransferredPredictor", "transfer_predictor"]

KNOWN = "known ms"
_GLOBAL = ("macs", "params", "layers", "written")
_SCALES = {KNOWN: 1.0} | dict.fromkeys(_GLOBAL, 0.5)
"""How far coefficients may be from 0 beforehand, for standardized features."""
_COUNT_SCALE = 0.05
_NOISES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_SLOPES = (0.0, 1.0)
_FOLDS = 10
_LEAST_SPREAD = 0.3  # of what is left to explain, as a share of the whole
_LEAST = 1e-9


@final
@dataclass(frozen=True, kw_only=True)
class TransferredPredictor(Predictor):
    """A correction, learned from a few networks, of what is predicted for another target."""

    target: str
    known: LayerPredictor
    """Of the other target."""
    log_ms: float
    """Logarithm of the milliseconds of an average network."""
    slopes: Mapping[str, float]
    """Change of the logarithm with each feature: that of a total, or a count of layers."""
    means: Mapping[str, float]
    """Of the features, where the slopes have no effect."""
    intervals: Intervals
    errors: Errors
    _chains: dict[tuple[Chain, bool], NDArray[np.float64]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """For each chain seen so far what it adds to the totals, and to the logarithm by its counts."""

    def __call__(self, graph: Graph, exit: int | None = None) -> float:
        """Milliseconds up to one exit, by default the last; infinite where the known target's are."""
        exit = len(graph.exits) - 1 if exit is None else exit
        return self._corrected(self.known(graph, exit), graph, exit)

    def guess(self, graph: Graph, exit: int | None = None) -> float:
        exit = len(graph.exits) - 1 if exit is None else exit
        return self._corrected(self.known.guess(graph, exit), graph, exit)

    def _corrected(self, known_ms: float, graph: Graph, exit: int) -> float:
        if not 0 < known_ms < math.inf:
            return known_ms
        total = np.zeros(len(_GLOBAL) + 1)
        for key in running_chains(graph, exit):
            parts = self._chains.get(key)
            total += self._learn(key) if parts is None else parts
        *totals, counted = total.tolist()
        return math.exp(self._constant + counted + self._slope_of_logs(known_ms, totals))

    @cached_property
    def _constant(self) -> float:
        return self.log_ms - sum(slope * self.means[name] for name, slope in self.slopes.items())

    def _slope_of_logs(self, known_ms: float, totals: Sequence[float]) -> float:
        logs = {KNOWN: math.log(known_ms)}
        logs |= {name: math.log(max(amount, 1.0)) for name, amount in zip(_GLOBAL, totals, strict=True)}
        return sum(self.slopes.get(name, 0.0) * value for name, value in logs.items())

    def _learn(self, key: tuple[Chain, bool]) -> NDArray[np.float64]:
        amounts = _amounts(*key)
        totals = [amounts.pop(name, 0) for name in _GLOBAL]
        counted = sum(self.slopes.get(name, 0.0) * count for name, count in amounts.items())
        parts = self._chains[key] = np.array([*totals, counted])
        return parts

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "known": self.known.to_json(),
            "log_ms": self.log_ms,
            "slopes": dict(self.slopes),
            "means": dict(self.means),
            "intervals": self.intervals.to_json(),
            "errors": asdict(self.errors),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> TransferredPredictor:
        """`ValueError`, `KeyError` or `TypeError` where these are not the values of `to_json`."""
        slopes, means = (
            {str(name): float(value) for name, value in dict(values[key]).items()}
            for key in ("slopes", "means")
        )
        log_ms = float(values["log_ms"])
        if slopes.keys() != means.keys() or not all(
            map(math.isfinite, (log_ms, *slopes.values(), *means.values()))
        ):
            raise ValueError("slopes and means must be finite, and of the same features")
        return TransferredPredictor(
            target=str(values["target"]),
            known=LayerPredictor.from_json(values["known"]),
            log_ms=log_ms,
            slopes=slopes,
            means=means,
            intervals=Intervals.from_json(values["intervals"]),
            errors=Errors(**values["errors"]),
        )


def transfer_predictor(
    known: LayerPredictor, graphs: Iterable[Graph], samples: Sequence[Sample], target: str
) -> TransferredPredictor:
    """Learn from samples measured on the target; `TargetError` for too few.

    `graphs`, networks of the space that need not be measured, tell how its features vary. Errors and
    intervals hold for networks that `known` has not learned from either.
    """
    samples = _predictable(known, samples)
    check_enough(samples)
    table = _Table.of(known, graphs, samples)
    log_ms, slopes = table.fit(table.best_prior())
    predicted_ms, measured_ms = np.exp(table.left_out_with_prior()), np.exp(table.log_ms)
    last = are_last_exits(samples)
    return TransferredPredictor(
        target=target,
        known=known,
        log_ms=log_ms,
        slopes=dict(zip(table.names, slopes.tolist(), strict=True)),
        means=dict(zip(table.names, table.means.tolist(), strict=True)),
        intervals=Intervals.of(predicted_ms, measured_ms, last),
        errors=Errors.of(predicted_ms[last], measured_ms[last]),
    )


@final
class _Prior(NamedTuple):
    """What is thought of the slopes before anything is measured."""

    noise: float
    """Variance of the logarithms that no slope explains, where the slopes' is 1."""
    slope: float
    """With the logarithm of the known time: 1 where both targets are much alike, 0 where they are not."""


@final
@dataclass(frozen=True)
class _Table:
    """One row per measured exit, features less their means."""

    names: tuple[str, ...]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    """Of the slopes, beforehand."""
    rows: NDArray[np.float64]
    log_ms: NDArray[np.float64]
    network: NDArray[np.intp]
    """Number of the sample that a row is of."""

    @staticmethod
    def of(known: LayerPredictor, graphs: Iterable[Graph], samples: Sequence[Sample]) -> _Table:
        memory: dict[tuple[Chain, bool], Counter[str]] = {}
        around = [
            _features(known, graph, exit, memory) for graph in graphs for exit in range(len(graph.exits))
        ]
        around = [row for row in around if math.isfinite(row[KNOWN])]
        if not around:
            raise TargetError(
                "a known target must predict networks of the space, but none; calibrate it again"
            )
        own = [_features(known, sample.graph, exit, memory) for sample in samples for exit in sample.exits_ms]
        names = tuple(sorted({name for row in around for name in row}))
        spread = np.array([[row.get(name, 0.0) for name in names] for row in around])
        deviations = np.maximum(spread.std(axis=0), _LEAST)
        wanted = np.array([_SCALES.get(name, _COUNT_SCALE) for name in names])
        means: NDArray[np.float64] = spread.mean(axis=0)
        return _Table(
            names,
            means,
            np.where(deviations > _LEAST, wanted / deviations, 0.0),
            np.array([[row.get(name, 0.0) for name in names] for row in own]) - means,
            np.log([ms for sample in samples for ms in sample.exits_ms.values()]),
            np.array([number for number, sample in enumerate(samples) for _ in sample.exits_ms]),
        )

    def only(self, chosen: NDArray[np.bool_]) -> _Table:
        """The chosen rows."""
        return replace(self, rows=self.rows[chosen], log_ms=self.log_ms[chosen], network=self.network[chosen])

    def fit(self, prior: _Prior) -> tuple[float, NDArray[np.float64]]:
        """The logarithm of an average network's time, and the slopes."""
        expected = np.where(np.array(self.names) == KNOWN, prior.slope, 0.0)
        center = self.rows.mean(axis=0)
        left = self.log_ms - self.rows @ expected
        spread = max(float(left.std()), _LEAST_SPREAD * float(self.log_ms.std()), _LEAST)
        scaled = (self.rows - center) * self.scales
        kernel = scaled @ scaled.T + prior.noise * np.eye(len(scaled))
        weights = np.linalg.solve(kernel, (left - left.mean()) / spread)
        correction = spread * self.scales * (scaled.T @ weights)
        return float(left.mean() - center @ correction), expected + correction

    def best_prior(self) -> _Prior:
        """That with the least error on networks left out, each by itself."""
        return min(starmap(_Prior, product(_NOISES, _SLOPES)), key=self._left_out_error)

    def left_out_with_prior(self) -> NDArray[np.float64]:
        """The logarithm of each row as predicted by a fit, and a prior, that have not seen its network."""
        found, folds = np.zeros_like(self.log_ms), min(_FOLDS, int(self.network[-1]) + 1)
        for fold in range(folds):
            own = self.network % folds == fold
            others = self.only(~own)
            mean, slopes = others.fit(others.best_prior())
            found[own] = mean + self.rows[own] @ slopes
        return found

    def _left_out_error(self, prior: _Prior) -> float:
        squares = 0.0
        for number in np.unique(self.network):
            own = self.network == number
            mean, slopes = self.only(~own).fit(prior)
            squares += float(((mean + self.rows[own] @ slopes - self.log_ms[own]) ** 2).sum())
        return squares


def _predictable(known: LayerPredictor, samples: Sequence[Sample]) -> list[Sample]:
    """What was measured of the exits that the known target can run, as far as is known."""
    kept = [
        {exit: ms for exit, ms in sample.exits_ms.items() if 0 < known(sample.graph, exit) < math.inf}
        for sample in samples
    ]
    pairs = zip(samples, kept, strict=True)
    return [Sample(sample.graph, exits_ms) for sample, exits_ms in pairs if exits_ms]


def _features(
    known: LayerPredictor, graph: Graph, exit: int, memory: dict[tuple[Chain, bool], Counter[str]]
) -> dict[str, float]:
    """Features of a network up to an exit; `memory` keeps those of its chains."""
    total = Counter[str]()
    for key in running_chains(graph, exit):
        if key not in memory:
            memory[key] = _amounts(*key)
        total.update(memory[key])
    logs = {name: math.log(max(total.pop(name, 0), 1)) for name in _GLOBAL}
    known_ms = known(graph, exit)
    return {**total, **logs, KNOWN: math.log(known_ms) if known_ms > 0 else -math.inf}


def _amounts(chain: Chain, fused: bool) -> Counter[str]:
    """What a chain adds to the totals, and how many layers of each kind and size it has."""
    found = Counter[str](macs=chain.macs, params=chain.params)
    for name, amount in chain_features(chain, 1, fused=fused).items():
        if name.endswith(": layers"):
            found[name] += round(amount)
    for layer in chain.layers:
        found["written"] += math.prod(layer.shape)
        if layer.macs:
            found["layers"] += 1
            found[f"size {layer.shape[-1] if len(layer.shape) == 3 else 1}"] += 1
    return found
