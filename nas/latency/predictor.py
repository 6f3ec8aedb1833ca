"""Predict milliseconds from networks that were measured, as a sum over layers.

Layers measured alone mislead: runtimes fuse them, and change the layout of features between some and not
others. So what each kind of layer costs is learned from whole networks, as non-negative factors of the
features in `nas.latency.features`, by least squares of the relative error (Lawson and Hanson's NNLS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.chains import Chain
from nas.cost import Cost
from nas.errors import MissingExtraError
from nas.graph import Graph
from nas.latency.features import chain_features, layer_features, running_chains, spilled
from nas.latency.prediction import Errors, Intervals, Predictor, Sample, are_last_exits, check_enough

__all__ = ["LayerPredictor", "fit_predictor"]

LANES = (1, 4, 8, 16)
CALL = "call"
"""Feature that counts calls of the runtime: one per segment."""

_FOLDS = 10
_FEW_FOLDS = 5  # to choose the lanes
_ROBUST_STEPS = 3
_CLIP = 4.0  # robust deviations, beyond which a measurement counts less
_EXACT = 1e-9  # relative deviations that are but rounding


@final
@dataclass(frozen=True, kw_only=True)
class LayerPredictor(Predictor):
    """A sum over the layers of a network."""

    target: str
    lanes: int
    factors_ms: Mapping[str, float]
    """Milliseconds per unit of each feature that was seen."""
    ms_per_mac: float
    """Of all that was measured."""
    intervals: Intervals
    errors: Errors
    _chains_ms: dict[tuple[Chain, bool], float] = field(default_factory=dict, repr=False, compare=False)

    def __call__(self, graph: Graph, exit: int | None = None) -> float:
        """Milliseconds up to one exit, by default the last; infinite where a kind of layer was never seen."""
        exit = len(graph.exits) - 1 if exit is None else exit
        known, weight_bytes = self._chains_ms, 0
        total_ms = (exit + 2) * self.factors_ms[CALL]
        for key in running_chains(graph, exit):
            ms = known.get(key)
            total_ms += self._learn(key) if ms is None else ms
            weight_bytes += 4 * key[0].params
        return total_ms + self._priced(spilled(weight_bytes))

    def guess(self, graph: Graph, exit: int | None = None) -> float:
        exit = len(graph.exits) - 1 if exit is None else exit
        total_ms = (exit + 2) * self.factors_ms[CALL]
        for key in running_chains(graph, exit):
            ms = self._chains_ms.get(key)
            ms = self._learn(key) if ms is None else ms
            total_ms += ms if ms < math.inf else self._guessed(*key)
        return total_ms

    def _guessed(self, chain: Chain, fused: bool) -> float:
        """Layer by layer, for how a network is cut into chains depends on what was built before it."""
        total_ms = 0.0
        for layer, amounts in layer_features(chain, self.lanes, fused=fused):
            ms = self._priced(amounts)
            total_ms += ms if ms < math.inf else layer.macs * self.ms_per_mac
        return total_ms

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "lanes": self.lanes,
            "factors_ms": dict(self.factors_ms),
            "ms_per_mac": self.ms_per_mac,
            "intervals": self.intervals.to_json(),
            "errors": asdict(self.errors),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> LayerPredictor:
        """`ValueError`, `KeyError` or `TypeError` where these are not the values of `to_json`."""
        factors_ms = {str(name): float(ms) for name, ms in dict(values["factors_ms"]).items()}
        if CALL not in factors_ms or not all(0 <= ms < math.inf for ms in factors_ms.values()):
            raise ValueError(f"factors must have {CALL!r}, and be finite and not below 0")
        if not 0 <= values["ms_per_mac"] < math.inf:
            raise ValueError("ms_per_mac must be finite and not below 0")
        if values["lanes"] not in LANES:
            raise ValueError(f"lanes must be among {LANES}")
        return LayerPredictor(
            target=str(values["target"]),
            lanes=values["lanes"],
            factors_ms=factors_ms,
            ms_per_mac=float(values["ms_per_mac"]),
            intervals=Intervals.from_json(values["intervals"]),
            errors=Errors(**values["errors"]),
        )

    def _learn(self, key: tuple[Chain, bool]) -> float:
        ms = self._chains_ms[key] = self._priced(chain_features(key[0], self.lanes, fused=key[1]))
        return ms

    def _priced(self, amounts: Mapping[str, float]) -> float:
        return sum(amount * self.factors_ms.get(name, math.inf) for name, amount in amounts.items())


def fit_predictor(samples: Sequence[Sample], target: str) -> LayerPredictor:
    """Learn from measured networks; some hundred are best. `TargetError` for too few."""
    check_enough(samples)
    tables = {lanes: _Table.of(samples, lanes) for lanes in LANES}
    lanes = min(LANES, key=lambda lanes: tables[lanes].left_out_error(_FEW_FOLDS))
    table = tables[lanes]
    predicted_ms = table.left_out_ms(_FOLDS)
    last = are_last_exits(samples)
    macs = [Cost.of(sample.graph, exit).macs for sample in samples for exit in sample.exits_ms]
    return LayerPredictor(
        target=target,
        ms_per_mac=float(table.measured_ms.sum() / max(1, sum(macs))),
        lanes=lanes,
        factors_ms=dict(zip(table.names, table.factors_ms().tolist(), strict=True)),
        intervals=Intervals.of(predicted_ms, table.measured_ms, last),
        errors=Errors.of(predicted_ms[last], table.measured_ms[last]),
    )


@final
@dataclass(frozen=True)
class _Table:
    """One row per measured exit of each sample."""

    names: tuple[str, ...]
    amounts: NDArray[np.float64]
    measured_ms: NDArray[np.float64]
    network: NDArray[np.intp]
    """Number of the sample that a row is of."""

    @staticmethod
    def of(samples: Sequence[Sample], lanes: int) -> _Table:
        known: dict[tuple[Chain, bool], dict[str, float]] = {}
        rows = [_amounts(sample.graph, exit, lanes, known) for sample in samples for exit in sample.exits_ms]
        names = tuple(sorted({name for row in rows for name in row}))
        column = {name: number for number, name in enumerate(names)}
        amounts = np.zeros((len(rows), len(names)))
        for number, row in enumerate(rows):
            amounts[number, [column[name] for name in row]] = list(row.values())
        network = [number for number, sample in enumerate(samples) for _ in sample.exits_ms]
        measured_ms = [ms for sample in samples for ms in sample.exits_ms.values()]
        return _Table(names, amounts, np.array(measured_ms), np.array(network))

    def factors_ms(self, rows: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
        """The factors that fit these rows, by default all. Rows far off, as in a slow phase, count less."""
        nnls = _nnls()
        amounts, measured_ms = (
            values if rows is None else values[rows] for values in (self.amounts, self.measured_ms)
        )
        scale = amounts.max(axis=0, initial=1e-12)
        relative = amounts / scale / measured_ms[:, None]
        weights = np.ones(len(relative))
        for _ in range(_ROBUST_STEPS):
            factors = nnls(relative * weights[:, None], weights)
            off = np.abs(relative @ factors - 1)
            tolerated = max(_EXACT, _CLIP * 1.4826 * float(np.median(off)))
            weights = np.sqrt(tolerated / np.maximum(off, tolerated))
        found: NDArray[np.float64] = factors / scale
        return found

    def left_out_ms(self, folds: int) -> NDArray[np.float64]:
        """Each row as predicted by a fit that has not seen its network."""
        predicted_ms = np.zeros_like(self.measured_ms)
        folds = min(folds, int(self.network[-1]) + 1)
        for fold in range(folds):
            left_out = self.network % folds == fold
            predicted_ms[left_out] = self.amounts[left_out] @ self.factors_ms(~left_out)
        return np.maximum(predicted_ms, 1e-9)

    def left_out_error(self, folds: int) -> float:
        return float(np.minimum(np.abs(self.left_out_ms(folds) / self.measured_ms - 1), 1.0).mean())


def _amounts(
    graph: Graph, exit: int, lanes: int, known: dict[tuple[Chain, bool], dict[str, float]]
) -> dict[str, float]:
    """Amounts of all features of a network up to an exit; `known` remembers chains."""
    total, weight_bytes = {CALL: exit + 2.0}, 0
    for key in running_chains(graph, exit):
        if key not in known:
            known[key] = chain_features(key[0], lanes, fused=key[1])
        for name, amount in known[key].items():
            total[name] = total.get(name, 0.0) + amount
        weight_bytes += 4 * key[0].params
    return total | spilled(weight_bytes)


def _nnls() -> Callable[..., NDArray[np.float64]]:
    try:
        from scipy.optimize import nnls
    except ImportError as error:
        raise MissingExtraError.of("scipy", "search") from error

    def solved(matrix: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        factors: NDArray[np.float64] = nnls(matrix, values, maxiter=50 * matrix.shape[1])[0]
        return factors

    return solved
