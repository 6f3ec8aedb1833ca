"""A latency follows from rounds as its definition says, and nothing but rounds is read as such."""

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.latency import Timing
from nas.latency.timing import precision


def noisy(seed: int, *, rounds: int = 24, models: int = 3, spread: float = 0.1) -> Timing:
    """Rounds of a few passes each, disturbed at random, beside a reference network that is disturbed too."""
    rng = np.random.default_rng(seed)
    shape = (rounds, int(rng.integers(1, 6)), models)
    times_s = rng.uniform(1e-4, 1e-3, models) * rng.lognormal(0, spread, shape)
    reference_s = 2e-4 * (1 + rng.exponential(0.2, rounds))
    return Timing(tuple(times_s), tuple(reference_s), 1.9e-4, "board")


each_seed = pytest.mark.parametrize("seed", range(8))


@each_seed
def test_the_median_of_the_quietest_round_counts(seed: int) -> None:
    timing = noisy(seed)
    medians_s = [np.median(times_s.sum(axis=1)) for times_s in timing.rounds]
    latency = timing.latency()
    assert latency.p50_ms == pytest.approx(1e3 * min(medians_s) / timing.slowdown)
    assert latency.runs == sum(map(len, timing.rounds))
    assert (latency.target, latency.slowdown) == ("board", timing.slowdown)


@pytest.mark.parametrize(
    ("reference_s", "slowdown"),
    [((), 1.0), ((3.0, 2.5, 9.0), 1.25), ((2.0, 7.0), 1.0), ((1.5, 2.0), 1.0)],
)
def test_slowdown_is_that_of_the_quietest_reference(reference_s: tuple[float, ...], slowdown: float) -> None:
    rounds = (np.full((2, 1), 0.25),) * 4
    latency = Timing(rounds, reference_s, 2.0, "board").latency()
    assert latency.slowdown == slowdown
    assert latency.p50_ms == latency.low_ms == 250 / slowdown
    assert latency.high_ms == 250  # which is what was read


@each_seed
def test_bounds_are_in_order(seed: int) -> None:
    latency = noisy(seed).latency()
    assert latency.low_ms is not None
    assert latency.high_ms is not None
    assert 0 < latency.low_ms <= latency.p50_ms <= latency.high_ms == latency.upper_ms
    assert latency.p50_ms <= latency.p95_ms
    assert latency.spread > 0


@each_seed
def test_the_interval_is_wider_the_less_steady_the_rounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    disturbance = rng.exponential(1, (24, 3, 1))

    def width(scale: float) -> float:
        latency = Timing(tuple(1e-3 * (1 + scale * disturbance)), (), 0.0, "board").latency()
        assert latency.low_ms is not None
        assert latency.high_ms is not None
        return latency.high_ms / latency.low_ms

    widths = [width(scale) for scale in (0, 0.01, 0.1, 1)]
    assert widths[0] == pytest.approx(1)
    assert widths == sorted(set(widths))


def test_every_fourth_round_is_a_measurement_of_its_own() -> None:
    assert precision([1, 2, 3, 4]) == 4
    assert precision([5, 2, 3, 2, 1, 9, 1.25, 9]) == 2
    assert precision([1, 1, 1]) == math.inf
    assert precision([0, 1, 1, 1]) == math.inf


@pytest.mark.parametrize("rounds", [1, 3])
def test_too_few_rounds_tell_no_interval(rounds: int) -> None:
    latency = noisy(0, rounds=rounds).latency()
    assert latency.low_ms is latency.high_ms is None
    assert latency.upper_ms == latency.p50_ms > 0


@each_seed
def test_json_keeps_every_bit(seed: int) -> None:
    timing = noisy(seed)
    values = json.loads(json.dumps(timing.to_json()))
    read = Timing.from_json(values)
    np.testing.assert_equal(read.rounds, timing.rounds)
    assert read.to_json() == timing.to_json() == values
    assert read.latency() == timing.latency()


def test_power_is_kept_and_may_be_missing() -> None:
    values = noisy(0).to_json()
    assert Timing.from_json(values | {"power_w": 2.5}).latency().power_w == 2.5
    del values["power_w"]  # from an agent that knew of none
    assert Timing.from_json(values).latency().energy_mj is None


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no rounds": lambda values: values.update(rounds_s=[]),
    "an empty round": lambda values: values["rounds_s"].append([]),
    "a pass without models": lambda values: values["rounds_s"].append([[]]),
    "a round of numbers": lambda values: values["rounds_s"].append([1.0, 1.0]),
    "too deep": lambda values: values["rounds_s"].append([[[1.0]]]),
    "other models": lambda values: values["rounds_s"].append([[1.0, 2.0]]),
    "ragged": lambda values: values["rounds_s"].append([[1.0, 2.0, 3.0], [1.0]]),
    "text": lambda values: values["rounds_s"].append("soon"),
    "an object": lambda values: values["rounds_s"].append({"a": 1}),
    "not finite": lambda values: values["rounds_s"].append([[1.0, math.nan, 1.0]]),
    "below 0": lambda values: values["rounds_s"].append([[1.0, -1.0, 1.0]]),
    "too large": lambda values: values["rounds_s"].append([[1.0, 10**400, 1.0]]),
    "rounds missing": lambda values: values.pop("rounds_s"),
    "rounds a number": lambda values: values.update(rounds_s=3),
    "reference missing": lambda values: values.pop("reference_s"),
    "reference infinite": lambda values: values.update(reference_s=[math.inf]),
    "reference null": lambda values: values.update(reference_s=[None]),
    "reference too large": lambda values: values.update(reference_s=[10**400]),
    "floor missing": lambda values: values.pop("floor_s"),
    "floor 0": lambda values: values.update(floor_s=0),
    "floor text": lambda values: values.update(floor_s="low"),
    "floor too large": lambda values: values.update(floor_s=10**400),
    "target missing": lambda values: values.pop("target"),
    "power below 0": lambda values: values.update(power_w=-1),
    "power not finite": lambda values: values.update(power_w=math.nan),
    "power text": lambda values: values.update(power_w="much"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_json(damage: str) -> None:
    values = noisy(0).to_json()
    DAMAGES[damage](values)
    with pytest.raises((ValueError, KeyError, TypeError)):
        Timing.from_json(values)


@pytest.mark.parametrize("values", [None, [], 3, "timing", {}])
def test_json_of_something_else(values: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Timing.from_json(values)
