"""Thresholds from a budget: near the best there are, held by other images, and what goes wrong is said."""

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from nas.bundle import Readout
from nas.bundle.readout import COMBINATIONS
from nas.cascade import (
    CascadeCost,
    Validation,
    accuracy_reaching,
    cascade_at,
    cost_within,
    decide,
    image_weights,
    weighted_share,
)
from nas.errors import BudgetError, DataError, SpaceError

CLASSES = 5
COSTS = CascadeCost("macs", (10.0, 15.0, 40.0), (3.0, 3.0, 5.0))
Images = tuple[list[NDArray[np.float32]], NDArray[np.int64]]


def images(count: int, seed: int = 0, exits: int = 3) -> Images:
    """Heads of rising quality that see images of different difficulty, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    hardness = rng.uniform(0.2, 3, (count, 1))
    signal = np.eye(CLASSES)[labels] * 2.5
    shared = rng.normal(size=(count, CLASSES)) * hardness
    heads = [
        (signal + (shared + rng.normal(size=(count, CLASSES)) * hardness) / (1 + exit)).astype(np.float32)
        for exit in range(exits)
    ]
    return heads, labels


def validation(count: int, seed: int = 0, readout: Readout | None = None) -> Validation:
    return Validation.of(*images(count, seed), readout)


def test_near_the_best_of_all_thresholds() -> None:
    """Beside every pair of 25 thresholds, among them those that ask no head."""
    found = validation(400)
    tried = [
        np.append(np.quantile(found.confidence[:, exit], np.linspace(0, 1, 24)), 2.0) for exit in range(2)
    ]
    all_points = [cascade_at(found, COSTS, pair) for pair in product(*tried)]
    for budget in (20.0, 25.0, 30.0, 40.0, 60.0):
        best = max(point.accuracy for point in all_points if point.cost <= budget)
        cascade = cost_within(found, COSTS, budget, sigmas=0)
        assert cascade.cost <= budget
        assert cascade.accuracy >= best - 0.006, budget
    for accuracy in (0.7, 0.8, 0.85):
        least = min(point.cost for point in all_points if point.accuracy >= accuracy)
        cascade = accuracy_reaching(found, COSTS, accuracy, sigmas=0)
        assert cascade.accuracy >= accuracy
        assert cascade.cost <= least * 1.05, accuracy


@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize("confidence", ["max_probability", "entropy", "patience"])
def test_what_is_said_is_what_a_cascade_does(combine: str, confidence: str) -> None:
    readout = Readout(combine=combine, confidence=confidence, temperatures=(2.0, 1.5, 1.0))
    heads, labels = images(500)
    found = Validation.of(heads, labels, readout)
    # Combined exits and patience run all heads, so the first exit costs less than the others by much.
    for budget in (16.0, 35.0, 50.0, 1e9):
        cascade = cost_within(found, COSTS, budget)
        answer = decide(heads, readout, exit=cascade.exit, thresholds=cascade.thresholds)
        assert (answer.logits.argmax(1) == labels).mean() == pytest.approx(cascade.accuracy)
        shares = np.bincount(answer.exits, minlength=3) / len(labels)
        np.testing.assert_allclose(shares, cascade.shares)
        asked = [limit <= 1 or combine != "last" for limit in cascade.thresholds]
        leaving = COSTS.leaving(asked)
        assert leaving[answer.exits].mean() == pytest.approx(cascade.cost)
        assert leaving[answer.exits].max() == cascade.most


def test_the_margin_keeps_other_images_within_the_budget() -> None:
    budget, kept, spent = 30.0, [], []
    for seed in range(40):
        cascade = cost_within(validation(300, seed), COSTS, budget)
        other = cascade_at(validation(5000, 1000 + seed), COSTS, cascade.thresholds)
        kept.append(other.cost <= budget)
        assert cascade.cost + cascade.margin <= budget
        spent.append((cascade.cost + cascade.margin) / budget)
        assert spent[-1] > 0.96, "what is left over buys nothing"
    assert sum(kept) >= 35, "95 of 100"
    assert np.mean(spent) > 0.97, "little is left over"


def test_an_accuracy_is_kept_by_other_images() -> None:
    kept = []
    for seed in range(40):
        cascade = accuracy_reaching(validation(300, seed), COSTS, 0.75)
        kept.append(cascade_at(validation(5000, 1000 + seed), COSTS, cascade.thresholds).accuracy >= 0.75)
    assert sum(kept) >= 35


def test_a_head_that_does_not_pay_is_not_asked() -> None:
    """One that is dear, and as good as guessing."""
    heads, labels = images(600)
    heads[1] = np.random.default_rng(0).normal(size=heads[1].shape).astype(np.float32)
    dear = CascadeCost("macs", (10.0, 15.0, 40.0), (3.0, 30.0, 5.0))
    cascade = cost_within(Validation.of(heads, labels), dear, 45.0)
    assert cascade.thresholds[1] > 1 >= cascade.thresholds[0]
    assert cascade.shares[1] == 0


def test_all_leave_at_the_first_exit_where_the_budget_says_so() -> None:
    cascade = cost_within(validation(100), COSTS, COSTS.least)
    assert (cascade.exit, cascade.cost, cascade.margin) == (0, COSTS.least, 0.0)
    assert cascade.thresholds[0] == 0


def test_class_shares_weigh_images() -> None:
    heads, labels = images(2000)
    heads[0][labels == 0] = 0  # the first head tells nothing of this class
    shares = [0.6, 0.1, 0.1, 0.1, 0.1]
    even = cost_within(Validation.of(heads, labels), COSTS, 22.0)
    weighted = Validation.of(heads, labels, class_shares=shares)
    assert cost_within(weighted, COSTS, 22.0).cost <= 22.0 < cascade_at(weighted, COSTS, even.thresholds).cost
    assert 1 < weighted.images < 2000, "uneven weights tell less"


def test_a_budget_in_words() -> None:
    found = validation(200)
    assert cost_within(found, COSTS, "macs<=30") == cost_within(found, COSTS, 30.0)
    energy = COSTS.scaled("energy_mj", 0.01, once=1.0)
    assert (
        cost_within(found, energy, "energy<=1300uJ").thresholds == cost_within(found, COSTS, 30.0).thresholds
    )
    for text in ("latency<=1ms", "macs@0<=30", "macs<=30, latency<=1ms", ""):
        with pytest.raises(BudgetError, match="must limit the mean macs and nothing else"):
            cost_within(found, COSTS, text)


def test_a_budget_below_the_first_exit_says_the_least() -> None:
    message = "a mean macs must be at least that of the first exit, 13, but the budget is 12; raise it"
    with pytest.raises(BudgetError, match=f"^{message}$"):
        cost_within(validation(50), COSTS, 12.0)
    with pytest.raises(
        BudgetError, match=r"the most that is sure is 0\.\d+, .* and not 0\.9999; ask for less"
    ):
        accuracy_reaching(validation(50), COSTS, 0.9999)


@pytest.mark.parametrize("thresholds", [(0.5,), (0.5, -0.1), (0.5, float("nan")), (0.5, 0.5, 0.5)])
def test_thresholds_outside_their_range(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(BudgetError, match="thresholds must be 2 numbers of at least 0, one per exit"):
        cascade_at(validation(50), COSTS, thresholds)


def test_networks_without_early_exits() -> None:
    heads, labels = images(50, exits=1)
    with pytest.raises(SpaceError, match="must have at least 2 exits to have thresholds, but has 1"):
        cost_within(Validation.of(heads, labels), CascadeCost("macs", (1.0,), (1.0,)), 5.0)
    with pytest.raises(SpaceError, match="costs must be of the network's 3 exits, but are of 1"):
        cost_within(validation(50), CascadeCost("macs", (1.0,), (1.0,)), 5.0)


def test_images_that_tell_too_little() -> None:
    heads, labels = images(50)
    with pytest.raises(DataError, match="at least as many images as the network has exits, 3, but has 2;"):
        Validation.of([head[:2] for head in heads], labels[:2])
    with pytest.raises(DataError, match="images of several classes, but all 50 are of class 0"):
        Validation.of(heads, np.zeros(50, int))
    with pytest.raises(DataError, match=r"each head must tell of each label's image, .* for 49"):
        Validation.of(heads, labels[:-1])
    with pytest.raises(DataError, match="logits must be finite"):
        Validation.of([heads[0] * np.nan, *heads[1:]], labels)
    with pytest.raises(DataError, match="a number of at least 0 for each of 5 classes"):
        Validation.of(heads, labels, class_shares=[1.0])
    with pytest.raises(DataError, match="class 4 has none"):
        Validation.of(heads, labels % 4, class_shares=[1.0] * 5)


def test_uneven_classes_are_said() -> None:
    heads, labels = images(200)
    labels[labels == 3] = 2
    labels[:2] = 3
    with pytest.warns(UserWarning, match=r"of which \d+ are of class 2 and 2 of class 3; give class_shares"):
        Validation.of(heads, labels)
    with pytest.raises(BudgetError, match="sigmas must be at least 0"):
        cost_within(validation(50), COSTS, 30.0, sigmas=-1.0)


def test_patience_has_thresholds_between_few_confidences() -> None:
    """Five exits that agree more and more; against all thresholds that tell them apart."""
    heads, labels = images(300, exits=5)
    found = Validation.of(heads, labels, Readout(confidence="patience"))
    costs = CascadeCost("macs", (10.0,) * 5, (1.0,) * 5)
    steps = [0.0, 0.125, 0.375, 0.625, 1.0]
    for budget in (25.0, 35.0, 45.0):
        all_points = [cascade_at(found, costs, limits) for limits in product(steps, repeat=4)]
        best = max(point.accuracy for point in all_points if point.cost <= budget)
        assert cost_within(found, costs, budget, sigmas=0).accuracy >= best - 0.01
    with pytest.raises(BudgetError, match="and at most 1, for an exit that is not asked cannot agree"):
        cascade_at(found, costs, (2.0, 0.5, 0.5, 0.5))


def test_the_best_accuracy_is_not_paid_for_twice() -> None:
    found = validation(400)
    best = cost_within(found, COSTS, float("inf"), sigmas=0)
    for budget in np.linspace(COSTS.least, best.cost, 12)[:-1]:
        assert cost_within(found, COSTS, float(budget), sigmas=0).accuracy < best.accuracy


@pytest.mark.parametrize("count", [30, 49, 500, 1000])
def test_a_network_that_is_never_wrong(count: int) -> None:
    """Rounding makes no accuracy of more than 1, no floor of 1 unreachable, and few images not sure."""
    labels = np.arange(count) % CLASSES
    heads = [np.eye(CLASSES, dtype=np.float32)[labels] * 9] * 3
    found = Validation.of(heads, labels)
    assert found.accuracies == (1.0,) * 3
    cascade = accuracy_reaching(found, COSTS, 1.0, sigmas=0)
    assert (cascade.accuracy, cascade.cost) == (1.0, COSTS.least)
    with pytest.raises(BudgetError, match=r"the most that is sure is 0\.9"):
        accuracy_reaching(found, COSTS, 0.9999)
    for accuracy in (float("nan"), -0.1, 90.0):
        with pytest.raises(BudgetError, match="an accuracy must be from 0 to 1"):
            accuracy_reaching(found, COSTS, accuracy)


def test_thresholds_hold_as_devices_round_them() -> None:
    """Between confidences that are next to each other in single precision."""
    heads, labels = images(400)
    sure = np.float32(1) - np.arange(400, dtype=np.float32) * np.spacing(np.float32(0.5))
    found = Validation.of(heads, labels)
    found.confidence[:, 0] = sure
    for budget in (20.0, 25.0, 30.0):
        cascade = cost_within(found, COSTS, budget)
        for exit, limit in enumerate(cascade.thresholds):
            leave = found.confidence[:, exit] >= limit
            assert (leave == (found.confidence[:, exit].astype(np.float32) >= np.float32(limit))).all()


def test_no_image_goes_on_behind_the_exit_where_all_have_left() -> None:
    """Not those of other images either, whom the last threshold used may not hold."""
    closed = 0
    for seed in range(60):
        cascade = cost_within(validation(150, seed), COSTS, 24.0)
        heads, labels = images(2000, 1000 + seed)
        other = cascade_at(Validation.of(heads, labels), COSTS, cascade.thresholds)
        answer = decide(heads, Readout(), exit=cascade.exit, thresholds=cascade.thresholds)
        assert other.accuracy == pytest.approx((answer.logits.argmax(1) == labels).mean())
        assert other.exit <= cascade.exit
        closed += cascade.exit < 2
    assert closed, "of some the last exit is never reached"


@pytest.mark.parametrize("count", [6, 48, 49, 144, 1000])
def test_equal_numbers_are_equal_shares(count: int) -> None:
    weights = image_weights(np.arange(count) % 2, 2)
    for right in range(count + 1):
        named = np.arange(count) < right
        assert weighted_share(weights, named) == named.mean() == right / count


def test_answers_that_cannot_be() -> None:
    heads, labels = images(50)
    for wrong in (labels - 1, labels + 1):
        with pytest.raises(DataError, match="validation labels must be from 0 to 4, but go from"):
            Validation.of(heads, wrong)
    with pytest.raises(DataError, match="at least as many images as the network has exits"):
        Validation.of([head[:0] for head in heads], labels[:0])
    with pytest.raises(DataError, match="there must be validation images, but got none"):
        image_weights(labels[:0], 5)
    with pytest.raises(DataError, match="logits of at least one head, but got none"):
        Validation.of([], labels)
    with pytest.raises(DataError, match="answers of at least one exit, but got none"):
        Validation.of_answers([], labels, Readout())
