"""What a search believes of a metric that only an evaluation tells: a Gaussian process over networks.

Rasmussen and Williams, Gaussian Processes for Machine Learning (MIT Press, 2006), chapters 2 and 5. Losses
are warped by `log(loss - best + offset)`, with the offset learned beside the lengths of the kernel
(Snelson, Rasmussen and Ghahramani, Warped Gaussian Processes, NIPS 2003): near the best, where a search
must tell networks apart, differences are much smaller than far from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nas.search.encoding import Array, Points

__all__ = ["Belief", "GaussianProcess"]

_SQRT5 = 5**0.5
_STEPS = 40
_KEPT = 1000  # networks that a process knows, at most: its time grows with their third power
_FITTED_ON = 256  # networks by which its parameters are learned, at most


@final
class Belief(NamedTuple):
    """Normal distributions of the warped losses of some networks."""

    mean: Array
    deviation: Array


@final
class _Prior(NamedTuple):
    """Of the logarithm of one parameter: mean, standard deviation and limits."""

    mean: float
    deviation: float
    least: float
    most: float


_LENGTH = _Prior(0.0, 1.0, -3.0, 3.0)
_NOISE = _Prior(np.log(0.01), 1.5, np.log(1e-5), 0.0)  # as a share of the variance of warped losses
_AMPLITUDE = _Prior(0.0, 1.0, -3.0, 3.0)
_OFFSET = _Prior(0.0, 1.0, -4.0, 4.0)  # as a share of the spread of losses


@final
@dataclass(frozen=True)
class _Warp:
    """A monotone map of losses to values of mean 0 and variance 1, which widens differences near the best."""

    best: float
    offset: float
    mean: float
    deviation: float

    @staticmethod
    def of(losses: Array, offset: float) -> _Warp:
        logs = np.log(losses - losses.min() + offset)
        return _Warp(float(losses.min()), offset, float(logs.mean()), max(float(logs.std()), 1e-9))

    def __call__(self, losses: Array) -> Array:
        result: Array = (np.log(losses - self.best + self.offset) - self.mean) / self.deviation
        return result

    def inverse(self, warped: Array) -> Array:
        result: Array = np.exp(warped * self.deviation + self.mean) + self.best - self.offset
        return result


@final
@dataclass(frozen=True)
class GaussianProcess:
    """Fitted to the losses of some networks; smaller losses are better."""

    _points: Points
    _warp: _Warp
    _warped: Array
    _kernel: _Kernel
    _factor: Array
    """Lower Cholesky factor of the covariance of the networks."""
    _weights: Array

    @staticmethod
    def fit(points: Points, losses: Array) -> GaussianProcess:
        """Learn from networks at these points; two at least."""
        kept = _telling(losses, _KEPT)
        points, losses = _at(points, kept), losses[kept]
        few = _telling(losses, _FITTED_ON)
        kernel, offset = _Likelihood(_at(points, few), losses[few]).most_likely()
        warp = _Warp.of(losses, offset)
        return GaussianProcess._given(points, warp, warp(losses), kernel)

    @staticmethod
    def _given(points: Points, warp: _Warp, warped: Array, kernel: _Kernel) -> GaussianProcess:
        covariance = kernel(points, points) + kernel.noise * np.eye(len(warped))
        factor = cholesky(covariance, lower=True, check_finite=False)
        return GaussianProcess(points, warp, warped, kernel, factor, cho_solve((factor, True), warped))

    def predict(self, points: Points) -> Belief:
        """What is believed of networks at these points, without the noise of an evaluation."""
        covariance = self._kernel(points, self._points)
        reduced = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = np.maximum(self._kernel.amplitude - (reduced**2).sum(0), 1e-10)
        return Belief(covariance @ self._weights, np.sqrt(variance))

    def losses(self, warped: Array) -> Array:
        """Losses as the metric has them, of warped ones."""
        return self._warp.inverse(warped)

    def believing(self, points: Points) -> GaussianProcess:
        """The process as if networks at these points had been evaluated and were just as expected.

        So networks proposed while others are evaluated do not crowd around these (Ginsbourger, Le Riche and
        Carraro, Kriging is well-suited to parallelize optimization, 2010).
        """
        both = tuple(np.concatenate(pair) for pair in zip(self._points, points, strict=True))
        warped = np.concatenate([self._warped, self.predict(points).mean])
        return GaussianProcess._given(both, self._warp, warped, self._kernel)


@final
@dataclass(frozen=True)
class _Kernel:
    """A Matérn kernel of order 5/2 with a length for each block of columns."""

    lengths: tuple[float, ...]
    amplitude: float
    noise: float

    def __call__(self, some: Points, others: Points) -> Array:
        squares = [
            _squares(one, other) / length**2
            for one, other, length in zip(some, others, self.lengths, strict=True)
        ]
        return self.amplitude * _matern(sum(squares, np.zeros(())))[0]


@final
class _Likelihood:
    """How unlikely some losses are, given the parameters of kernel and warp, and what these would be."""

    def __init__(self, points: Points, losses: Array) -> None:
        self._squares = [_squares(block, block) for block in points]
        self._losses = losses
        self._spread = max(float(losses.std()), 1e-9)
        self._priors = [_LENGTH for _ in points] + [_AMPLITUDE, _NOISE, _OFFSET]

    def most_likely(self) -> tuple[_Kernel, float]:
        """The kernel, and the offset of the warp."""
        found = minimize(
            self._cost,
            [prior.mean for prior in self._priors],
            jac=True,
            method="L-BFGS-B",
            bounds=[(prior.least, prior.most) for prior in self._priors],
            options={"maxiter": _STEPS},
        )
        *lengths, amplitude, noise, offset = (float(value) for value in np.exp(found.x))
        return _Kernel(tuple(lengths), amplitude, noise), offset * self._spread

    def _cost(self, logs: Array) -> tuple[float, Array]:
        """Negative logarithm of likelihood times prior, and its gradient."""
        *lengths, amplitude, noise, offset = np.exp(logs)
        scaled = [square / length**2 for square, length in zip(self._squares, lengths, strict=True)]
        matern, slope = _matern(sum(scaled, np.zeros(())))
        warp = _Warp.of(self._losses, offset * self._spread)
        warped, count = warp(self._losses), len(self._losses)
        try:
            factor = cho_factor(amplitude * matern + noise * np.eye(count), lower=True, check_finite=False)
        except LinAlgError:
            return 1e9, np.zeros_like(logs)
        weights = cho_solve(factor, warped)
        inner = cho_solve(factor, np.eye(count)) - np.outer(weights, weights)
        means = np.array([prior.mean for prior in self._priors])
        widths = np.array([prior.deviation for prior in self._priors])
        jacobian, bend, stretch = self._bend(warp, warped)
        cost = warped @ weights / 2 + np.log(np.diag(factor[0])).sum() + jacobian
        gradient = [amplitude * (inner * slope * square).sum() / 2 for square in scaled]
        gradient += [amplitude * (inner * matern).sum() / 2, noise * np.trace(inner) / 2]
        gradient += [weights @ bend + stretch]
        away = (logs - means) / widths
        return float(cost + (away**2).sum() / 2), np.array(gradient) + away / widths

    def _bend(self, warp: _Warp, warped: Array) -> tuple[float, Array, float]:
        """Minus the logarithm of the warp's slopes, and how warped losses and that change with the offset.

        The latter two with respect to the offset's logarithm.
        """
        slopes = 1 / (self._losses - warp.best + warp.offset)
        widening = float((warped * (slopes - slopes.mean())).mean())
        bend = warp.offset * ((slopes - slopes.mean()) / warp.deviation - warped * widening / warp.deviation)
        jacobian = float(len(slopes) * np.log(warp.deviation) - np.log(slopes).sum())
        stretch = warp.offset * (slopes.sum() + len(slopes) * widening / warp.deviation)
        return jacobian, bend, float(stretch)


def _matern(squares: Array) -> tuple[Array, Array]:
    """The kernel at squared distances, and by what these are multiplied in its slope by a length."""
    distances = _SQRT5 * np.sqrt(squares)
    decay = np.exp(-distances)
    return (1 + distances + distances**2 / 3) * decay, (1 + distances) * decay * 5 / 3


def _squares(some: Array, others: Array) -> Array:
    """Squared distances of the rows."""
    lengths = (some**2).sum(1)[:, None] + (others**2).sum(1)[None]
    squares: Array = np.maximum(lengths - 2 * some @ others.T, 0)
    return squares


def _at(points: Points, rows: NDArray[np.intp]) -> Points:
    return tuple(block[rows] for block in points)


def _telling(losses: Array, count: int) -> NDArray[np.intp]:
    """Places of the networks that tell most: the best half, and every so many of the others."""
    order = np.argsort(losses, kind="stable")
    best, others = order[: count // 2], np.sort(order[count // 2 :])
    few = np.linspace(0, len(others) - 1, min(len(others), count - len(best))).round().astype(np.intp)
    return np.concatenate([best, others[few]])
