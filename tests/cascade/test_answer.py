"""The numpy reference of a cascade, and the temperatures that make confidences honest."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from nas.bundle import Readout
from nas.cascade import decide, exit_answers, fitted_temperature, with_temperatures

RNG = np.random.default_rng(0)
HEADS = [RNG.normal(size=(50, 5)).astype(np.float32) * (1 + k) for k in range(3)]


def test_confidences_are_those_of_scipy() -> None:
    for kind, expected in {
        "max_probability": softmax(HEADS[2], axis=1).max(axis=1),
        "margin": -np.diff(np.sort(softmax(HEADS[2], axis=1))[:, -2:][:, ::-1]).ravel(),
        "entropy": 1 - entropy(softmax(HEADS[2], axis=1), axis=1) / np.log(5),
    }.items():
        answer = decide(HEADS, Readout(confidence=kind), exit=2)
        np.testing.assert_allclose(answer.confidence, expected, rtol=1e-5, atol=1e-6)


def test_a_product_of_experts() -> None:
    """By its definition in https://arxiv.org/abs/2306.02652: positive logits to rising powers, multiplied."""
    readout = Readout(combine="product")
    powers = [np.maximum(head, 0.0).astype(np.float64) ** ((k + 1) / 3) for k, head in enumerate(HEADS)]
    products = np.cumprod(powers, axis=0)
    for exit, product in enumerate(products):
        some = product.sum(axis=1) > 0  # where all classes are ruled out the least so is named
        expected = product[some] / product[some].sum(axis=1, keepdims=True)
        logits = decide(HEADS, readout, exit=exit).logits[some]
        np.testing.assert_allclose(softmax(logits, axis=1), expected, rtol=1e-6, atol=1e-6)


def test_what_a_product_rules_out_stays_out() -> None:
    left = np.all(HEADS, axis=0) & (np.min(HEADS, axis=0).max(axis=1) > 0)[:, None]  # some class is left
    answers = [softmax(each.logits, axis=1) for each in exit_answers(HEADS, Readout(combine="product"))]
    out = left & (HEADS[0] < 0)
    assert max(answer[out].max() for answer in answers) < 1e-6
    assert max(softmax(head, axis=1)[out].max() for head in HEADS[1:]) > 0.5, "alone they change their minds"


def test_combined_heads_are_sums_and_ensembles() -> None:
    total = decide(HEADS, Readout(combine="sum"), exit=2).logits
    np.testing.assert_allclose(total, sum(head.astype(np.float64) for head in HEADS))
    mean = decide(HEADS, Readout(combine="mean"), exit=1).logits
    expected = (softmax(HEADS[0], axis=1) + softmax(HEADS[1], axis=1)) / 2
    np.testing.assert_allclose(softmax(mean, axis=1), expected, rtol=1e-5)


def test_patience_counts_the_exits_that_agree() -> None:
    same = [np.array([[0.0, 1.0]]), np.array([[0.0, 3.0]]), np.array([[1.0, 2.0]])]
    readout = Readout(confidence="patience")
    assert [decide(same, readout, exit=k, thresholds=(0.9, 0.9)).confidence[0] for k in range(3)] == [
        0,
        0.5,
        1,
    ]
    turned = [same[0], np.array([[3.0, 0.0]]), same[2]]
    assert decide(turned, readout, exit=2, thresholds=(0.9, 0.9)).confidence[0] == 0
    skipped = decide(turned, readout, exit=2, thresholds=(0.9, 2.0))  # the exit that is not asked has no say
    assert skipped.confidence[0] == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_higher_thresholds_never_stop_earlier(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 1, 2)
    high = np.minimum(1, low + rng.uniform(0, 0.5, 2))
    early, late = (
        decide(HEADS, Readout(), exit=2, thresholds=values.tolist()).exits for values in (low, high)
    )
    assert (early <= late).all()


def test_the_temperature_is_that_at_which_labels_are_likeliest() -> None:
    rng = np.random.default_rng(1)
    logits = torch.tensor(rng.normal(size=(400, 5)) * 3)
    labels = torch.tensor([rng.choice(5, p=shares) for shares in softmax(logits.numpy() / 2.5, axis=1)])
    found = fitted_temperature(logits.numpy(), labels.numpy())
    costs = {
        t: torch.nn.functional.cross_entropy(logits / t, labels).item()
        for t in (found * 0.99, found, found * 1.01)
    }
    assert min(costs, key=costs.__getitem__) == found
    assert found == pytest.approx(2.5, rel=0.2)


def test_a_network_that_is_never_wrong_has_a_finite_temperature() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]] * 10
    assert 0.05 <= fitted_temperature(logits, np.array([0, 1, 2, 0])) < 0.06


def test_given_temperatures_stay_and_others_are_fitted_for_each_exit() -> None:
    labels = HEADS[0].argmax(axis=1)
    given = Readout(temperatures=(1.0, 2.0, 3.0))
    assert with_temperatures(given, HEADS, labels) is given
    fitted = with_temperatures(Readout(), HEADS, labels)
    assert len(fitted.temperatures) == 3 and fitted.temperatures[1] > fitted.temperatures[0]


@pytest.mark.parametrize("classes", [5, 12, 13, 26, 37, 1000])
def test_nobody_is_less_than_unsure(classes: int) -> None:
    """Rounding makes the entropy of equal answers no more than the most."""
    answer = decide([np.ones((3, classes), np.float32)], Readout(confidence="entropy"), exit=0)
    assert (answer.confidence >= 0).all() and answer.confidence == pytest.approx(0, abs=1e-9)
