"""Declared energy is its formula, and a limit on it the latency that uses it up."""

import math

import pytest

from nas.budget import Budget
from nas.errors import BudgetError
from nas.latency import DeclaredEnergy


@pytest.mark.parametrize(
    ("text", "fixed_mj", "power_w"),
    [
        ("0.2mJ + 2.5W", 0.2, 2.5),
        ("2.5W", 0, 2.5),
        ("0.00005W", 0, 5e-5),
        ("0.1234567mJ+2W", 0.1234567, 2),
        (" 1 mJ+3 W ", 1, 3),
        (".5mJ+.25W", 0.5, 0.25),
    ],
)
def test_a_formula_is_read_and_written(text: str, fixed_mj: float, power_w: float) -> None:
    energy = DeclaredEnergy.parse(text)
    assert energy == DeclaredEnergy(fixed_mj, power_w) == DeclaredEnergy.parse(str(energy))
    assert energy(4.0) == fixed_mj + 4 * power_w


@pytest.mark.parametrize("text", ["", "2.5", "2.5mW", "0W", "-1W", "1mJ", "2.5W + 1mJ", "nanW", "1mJ + infW"])
def test_what_is_no_formula(text: str) -> None:
    with pytest.raises(BudgetError, match="declared energy must"):
        DeclaredEnergy.parse(text)


@pytest.mark.parametrize(("fixed_mj", "power_w"), [(-1, 1), (0, 0), (math.nan, 1), (0, math.inf)])
def test_numbers_that_make_no_formula(fixed_mj: float, power_w: float) -> None:
    with pytest.raises(BudgetError, match="declared energy must"):
        DeclaredEnergy(fixed_mj, power_w)


def test_a_limit_on_energy_is_one_on_latency() -> None:
    energy = DeclaredEnergy(0.5, 2)
    budget = energy.as_latency(Budget.parse("macs<=2M, energy<=2.5mJ, energy@0<=1mJ"))
    assert str(budget) == "macs<=2M, latency<=1ms, latency@0<=250us"
    for limit, bound_mj in zip(budget.limits[1:], (2.5, 1), strict=True):
        assert energy(limit.bound) == pytest.approx(bound_mj)
    assert energy.as_latency(budget) == budget


@pytest.mark.parametrize(("latency", "kept"), [("2ms", "1ms"), ("500us", "500us")])
def test_the_tighter_of_two_limits_counts(latency: str, kept: str) -> None:
    for text in (f"latency<={latency}, energy<=2.5mJ", f"energy<=2.5mJ, latency<={latency}"):
        assert str(DeclaredEnergy(0.5, 2).as_latency(Budget.parse(text))) == f"latency<={kept}"


def test_a_limit_that_nothing_keeps() -> None:
    with pytest.raises(BudgetError, match=r"leave more than the 0\.5 mJ"):
        DeclaredEnergy(0.5, 2).as_latency(Budget.parse("energy<=0.5mJ"))
