"""Budgets survive being written and read, keep their units apart, and say what is wrong in one sentence."""

import math
from random import Random

import pytest

from nas.budget import Budget, Limit
from nas.errors import BudgetError
from nas.metric import QUANTITIES


def random_budget(rng: Random) -> Budget:
    """Limits on different metrics, their bounds of any size and of few or all digits."""
    chosen = rng.sample([(name, exit) for name in QUANTITIES for exit in (None, 0, 1, 12)], rng.randint(0, 6))
    limits = []
    for quantity, exit in chosen:
        bound = 10 ** rng.uniform(-4, 12)
        bound = rng.choice([bound, float(f"{bound:.3g}"), float(math.ceil(bound))])
        limits.append(Limit(quantity, exit, bound))
    return Budget(tuple(limits))


def test_round_trip() -> None:
    rng = Random(0)
    for _ in range(500):
        budget = random_budget(rng)
        assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_unit_is_its_factor(quantity: str) -> None:
    metric = QUANTITIES[quantity]
    for unit, factor in metric.units.items():
        (limit,) = Budget.parse(f"{quantity}<=2.5{unit}").limits
        assert (limit.metric, limit.key, limit.bound) == (metric.name, metric.name, 2.5 * factor)


@pytest.mark.parametrize(
    ("text", "key", "bound"),
    [
        ("macs<=2M", "macs", 2e6),
        (" flops <= 600k ", "flops", 6e5),
        ("params<=1e6", "params", 1e6),
        ("latency@0<=300us", "latency_ms@0", 0.3),
        ("latency@12<=1.5 s", "latency_ms@12", 1500),
        ("latency<=300µs", "latency_ms", 0.3),
        ("memory<=256KiB", "peak_bytes", 262144),
        ("size<=256kB", "size_bytes", 256000),
        ("energy<=3uJ", "energy_mj", 0.003),
    ],
)
def test_limits_as_people_write_them(text: str, key: str, bound: float) -> None:
    (limit,) = Budget.parse(text).limits
    assert limit.key == key and limit.bound == pytest.approx(bound, rel=1e-15)


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        ("macs", 1_250_000, "1.25M"),
        ("macs", 999, "999"),
        ("latency", 0.3, "300us"),
        ("latency", 2000, "2s"),
        ("memory", 262144, "256KiB"),
        ("memory", 1000, "1000B"),
        ("energy", 0, "0uJ"),
    ],
)
def test_values_are_written_in_the_largest_unit_that_fits(quantity: str, value: float, text: str) -> None:
    assert Limit(quantity, None, 1).format(value) == text


def test_excess_and_holds_agree() -> None:
    rng = Random(1)
    for _ in range(500):
        budget = random_budget(rng)
        near = (0.5, 1, math.nextafter(1, 0), math.nextafter(1, 2), 2)
        values = {limit.key: limit.bound * rng.choice(near) for limit in budget.limits}
        excess = budget.excess(values)
        assert list(excess) == [limit.key for limit in budget.limits]
        assert budget.holds(values) == all(over <= 0 for over in excess.values())


def test_a_value_that_is_missing() -> None:
    budget = Budget.parse("macs<=2M, latency<=1ms")
    assert budget.excess({"macs": 1e6, "params": 5}) == {"macs": -0.5}
    with pytest.raises(KeyError):
        budget.holds({"macs": 1e6})


def test_no_limits_are_a_budget() -> None:
    assert Budget.parse("  ") == Budget() == Budget.parse(str(Budget()))
    assert Budget().holds({}) and Budget().excess({"macs": 1}) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs<2M", "a budget must read like 'macs<=2M' or 'latency@0<=0.3ms', but got 'macs<2M'"),
        ("macs<=-2M", "must read like .* but got 'macs<=-2M'"),
        ("macs<=2M,", "must read like .* but got ''"),
        ("latency@-1<=2ms", "must read like .* but got 'latency@-1<=2ms'"),
        ("macs<=lots", "must read like .* but got 'macs<=lots'"),
        (
            "speed<=2M",
            "must limit one of macs, flops, params, latency, memory, size, energy, but got 'speed'",
        ),
        ("latency<=2", "latency must have one of the units us, ms, s, but 'latency<=2' has none"),
        ("memory<=2", "memory must have one of the units B, KB, MB, GB, KiB, .*, but 'memory<=2' has none"),
        ("memory<=2k", "memory must have one of the units B, .*, but 'memory<=2k' has 'k'"),
        ("macs<=2ms", "macs must have one of the units K, M, G, but 'macs<=2ms' has 'ms'"),
        ("macs<=1.2.3M", "a bound must be a number, but got '1.2.3' in 'macs<=1.2.3M'"),
        ("macs<=0", "a bound must be positive and finite, but got 'macs<=0'"),
        ("macs<=1e999", "a bound must be positive and finite, but got 'macs<=1e999'"),
        ("macs<=1M, macs<=2M", "must limit each metric once, but 'macs<=1M, macs<=2M' limits macs twice"),
    ],
)
def test_budgets_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        Budget.parse(text)
