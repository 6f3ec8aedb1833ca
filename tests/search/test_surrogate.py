"""Holds the Gaussian process against scikit-learn's, its gradient, and what its warp promises."""

import numpy as np
import pytest
from numpy.random import Generator, default_rng
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from nas.search.surrogate import GaussianProcess, _Kernel, _Likelihood, _Warp


@pytest.fixture
def rng() -> Generator:
    return default_rng(0)


def test_predictions_are_those_of_scikit_learn(rng: Generator) -> None:
    x, new, losses = rng.random((30, 3)), rng.random((7, 3)), rng.random(30)
    warp = _Warp.of(losses, 0.5)
    ours = GaussianProcess._given((x,), warp, warp(losses), _Kernel((0.7,), 1.3, 0.05))
    kernel = ConstantKernel(1.3) * Matern(0.7, nu=2.5)
    theirs = GaussianProcessRegressor(kernel, alpha=0.05, optimizer=None).fit(x, warp(losses))
    mean, deviation = theirs.predict(new, return_std=True)
    belief = ours.predict((new,))
    np.testing.assert_allclose(belief.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(belief.deviation, deviation, rtol=1e-6)


def test_blocks_have_lengths_of_their_own(rng: Generator) -> None:
    some, others = rng.random((9, 2)), rng.random((9, 3))
    both = _Kernel((0.5, 2.0), 1.0, 0.1)((some, others), (some, others))
    one = _Kernel((1.0,), 1.0, 0.1)
    joined = np.concatenate([some / 0.5, others / 2.0], axis=1)
    np.testing.assert_allclose(both, one((joined,), (joined,)))


@pytest.mark.parametrize("seed", range(3))
def test_gradient_is_the_slope(seed: int) -> None:
    rng = default_rng(seed)
    likelihood = _Likelihood((rng.random((20, 3)), rng.random((20, 2))), rng.lognormal(size=20))
    logs = rng.normal(size=5)
    _, gradient = likelihood._cost(logs)
    slope = approx_fprime(logs, lambda at: likelihood._cost(at)[0], 1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-3)


def test_warp_widens_near_the_best_and_comes_back(rng: Generator) -> None:
    losses = np.sort(rng.lognormal(size=40))
    warp = _Warp.of(losses, 0.2)
    warped = warp(losses)
    np.testing.assert_allclose(warp.inverse(warped), losses)
    assert abs(warped.mean()) < 1e-9 and abs(warped.std() - 1) < 1e-9
    slopes = np.diff(warped) / np.diff(losses)
    assert (np.diff(slopes) < 0).all()


def test_it_learns_what_can_be_learned(rng: Generator) -> None:
    def loss(points: np.ndarray) -> np.ndarray:
        value: np.ndarray = np.exp(points @ [1.0, -2.0]) + 0.5
        return value

    x, new = rng.random((80, 2)), rng.random((200, 2))
    process = GaussianProcess.fit((x,), loss(x))
    belief = process.predict((new,))
    found = process.losses(belief.mean)
    assert np.corrcoef(found, loss(new))[0, 1] > 0.999
    low, high = (process.losses(belief.mean + sign * 2 * belief.deviation) for sign in (-1, 1))
    assert ((low <= loss(new)) & (loss(new) <= high)).mean() > 0.85


def test_noise_is_told_from_differences(rng: Generator) -> None:
    x = np.repeat(rng.random((15, 1)), 8, axis=0)
    losses = 1 + x[:, 0] + 0.1 * rng.standard_normal(len(x))
    process = GaussianProcess.fit((x,), losses)
    belief = process.predict((x,))
    spread = process.losses(belief.mean + belief.deviation) - process.losses(belief.mean)
    assert spread.max() < 0.1, "eight evaluations of a network tell more than one"
    assert np.abs(process.losses(belief.mean) - 1 - x[:, 0]).max() < 0.15


def test_equal_losses_and_thousands_of_networks(rng: Generator) -> None:
    x = rng.random((2500, 4))
    assert np.isfinite(GaussianProcess.fit((x[:9],), np.ones(9)).predict((x[9:20],)).mean).all()
    process = GaussianProcess.fit((x,), (x**2).sum(1))
    found = process.losses(process.predict((x,)).mean)
    assert np.corrcoef(found, (x**2).sum(1))[0, 1] > 0.999


def test_what_is_believed_is_as_certain_as_if_it_were_known(rng: Generator) -> None:
    x, running = rng.random((20, 2)), rng.random((2, 2))
    process = GaussianProcess.fit((x,), rng.random(20))
    believing = process.believing((running,))
    np.testing.assert_allclose(
        believing.predict((running,)).mean, process.predict((running,)).mean, atol=0.05
    )
    assert (believing.predict((running,)).deviation < process.predict((running,)).deviation).all()
