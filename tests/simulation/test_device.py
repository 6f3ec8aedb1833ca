"""A made-up device loses no energy but what it must, stays below its maximum, and is late as scipy says."""

import math
from random import Random

import pytest
from scipy.stats import lognorm

from nas.bundle import Latency, Level
from nas.errors import BundleError, DataError
from nas.simulation import Device, Moment, State, Trace, replay_level


def _level(p50_ms: float = 2.0, p95_ms: float = 3.0, energy_mj: float | None = None) -> Level:
    latency = Latency(p50_ms=p50_ms, p95_ms=p95_ms, spread=0.1, runs=9, target="test machine")
    source = "" if energy_mj is None else "measured"
    return Level(
        model="a", exit=0, accuracy=0.5, macs=1, latency=latency, energy_mj=energy_mj, energy_source=source
    )


def _random_device(random: Random) -> Device:
    return Device(
        capacity_mj=random.choice([None, 10.0, 1000.0]),
        power_w=random.uniform(0, 3),
        idle_w=random.choice([0.0, 0.01]),
        charge_ratio=random.random(),
        heating_c_per_j=random.choice([0.0, 5.0, 500.0]),
        cooling_s=random.choice([1.0, 60.0]),
        throttle_c=random.choice([20.0, 60.0, 99.0, 200.0]),
        throttle_slowdown=random.choice([1.0, 3.0]),
        charge_units=random.choice([10, 1000]),
        heat_units=random.choice([10, 300]),
    )


def _random_moment(random: Random) -> Moment:
    return Moment(
        time_s=0,
        requests=random.randint(0, 50),
        slowdown=random.choice([1.0, 0.5, 2.5]),
        deadline_ms=random.choice([None, 0.1, 2.0, 5.0, 100.0]),
        charger_w=random.choice([0.0, 0.0, 0.05]),
        heat_w=random.choice([0.0, 1.0]),
    )


def _random_state(random: Random, device: Device) -> State:
    return State(random.randint(0, device.most_charge), random.randint(0, device.most_heat))


@pytest.mark.parametrize("seed", range(20))
def test_energy_is_conserved_and_heat_bounded(seed: int) -> None:
    random = Random(seed)
    for _ in range(200):
        device, moment = _random_device(random), _random_moment(random)
        before, level, step_s = _random_state(random, device), _level(), random.choice([0.5, 10.0])
        after, outcome = device.advance(before, moment, level, step_s)
        throttled = device.most_heat > 0 and device.temperature_c(before) >= device.throttle_c
        taken, given, heat = device.flows(level, moment, step_s, throttled=throttled)
        charged = min(device.most_charge, before.charge + given)
        if charged >= taken:
            assert after.charge == charged - taken
            assert outcome.answered + outcome.missed == pytest.approx(moment.requests)
            assert after.heat == min(device.most_heat, device.cooled(before.heat, step_s) + heat)
        else:
            assert after == State(0, device.cooled(before.heat, step_s))
            assert (outcome.answered, outcome.missed) == (0, 0)
        assert 0 <= after.charge <= device.most_charge
        assert 0 <= after.heat <= device.most_heat
        assert device.ambient_c <= device.temperature_c(after) <= device.hottest_c
        assert 0 <= outcome.answered <= moment.requests


def test_units_are_those_of_joules_and_degrees() -> None:
    device = Device(capacity_mj=1000, idle_w=0.01, heating_c_per_j=10, charge_units=1000, heat_units=7500)
    moment = Moment(time_s=0, requests=5, charger_w=0.05, heat_w=0.1, slowdown=2)
    taken, given, heat = device.flows(_level(energy_mj=3.0), moment, 2.0, throttled=False)
    assert (taken, given) == (5 * 3 * 2 + 20, 100)
    assert heat == round((0.05 + 0.1 * 2) * 10 * 100)
    assert device.flows(_level(), moment, 2.0, throttled=False)[0] == 5 * 2 * 2 * 2 + 20  # its time at 2 W
    assert device.flows(_level(), moment, 2.0, throttled=True)[0] == 5 * 2 * 2 * 2 * 2 + 20


def test_an_empty_battery_answers_nothing_until_it_is_charged() -> None:
    device = Device(capacity_mj=100, charge_ratio=0.5, charge_units=100)
    moments = [Moment(time_s=second, requests=1) for second in range(14)]
    moments += [Moment(time_s=second, requests=1, charger_w=0.004) for second in range(14, 20)]
    steps = replay_level(device, Trace(tuple(moments)), (_level(),), 0).steps
    assert [step.outcome.answered for step in steps] == [1] * 12 + [0] * 2 + [1] * 6
    assert [step.state.charge for step in steps] == [*range(50, 1, -4), *[0] * 7]


def test_heat_cools_to_nothing_as_newton_says() -> None:
    device = Device(heating_c_per_j=1, cooling_s=60, heat_units=100_000)
    left = [100_000]
    for _ in range(600):
        left.append(device.cooled(left[-1], 1.0))
    assert left == sorted(left, reverse=True)
    assert left[60] == pytest.approx(100_000 / math.e, rel=1e-3)
    assert device.cooled(100_000, 60.0) == round(100_000 / math.e)
    assert device.cooled(0, 1.0) == 0


def test_a_hot_chip_runs_slower() -> None:
    device = Device(heating_c_per_j=1, throttle_c=80, throttle_slowdown=3, heat_units=75)
    moment = Moment(time_s=0, requests=1)
    times_ms = [device.advance(State(0, heat), moment, _level(), 1.0)[1].latency_ms for heat in (54, 55, 75)]
    assert times_ms == [2.0, 6.0, 6.0]
    cold = Device(heating_c_per_j=0, throttle_c=0)
    assert cold.advance(cold.start, moment, _level(), 1.0)[1].latency_ms == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_as_many_are_in_time_as_scipy_says(seed: int) -> None:
    random, device = Random(seed), Device(throttle_slowdown=1.7)
    for _ in range(100):
        p50_ms, ratio = random.uniform(0.01, 100), random.uniform(1.01, 4)
        slowdown, deadline_ms = random.uniform(0.5, 3), random.uniform(0.01, 300)
        throttled = random.random() < 0.5
        moment = Moment(time_s=0, requests=1, slowdown=slowdown, deadline_ms=deadline_ms)
        median_ms = p50_ms * slowdown * (1.7 if throttled else 1)
        reference = lognorm(s=math.log(ratio) / 1.6448536269514722, scale=median_ms)
        share = device.in_time(_level(p50_ms, p50_ms * ratio), moment, throttled)
        assert share == pytest.approx(reference.cdf(deadline_ms), abs=1e-9)
        assert reference.cdf(median_ms * ratio) == pytest.approx(0.95)


def test_without_spread_all_are_in_time_or_none() -> None:
    for deadline_ms, share in ((1.99, 0.0), (2.01, 1.0)):
        moment = Moment(time_s=0, requests=1, deadline_ms=deadline_ms)
        assert Device().in_time(_level(2.0, 2.0), moment, False) == pytest.approx(share)
    assert Device().in_time(_level(), Moment(time_s=0, requests=1), False) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capacity_mj", 0),
        ("power_w", -1),
        ("idle_w", math.nan),
        ("charge_ratio", 1.1),
        ("heating_c_per_j", -1),
        ("cooling_s", 0),
        ("throttle_slowdown", 0.5),
        ("hottest_c", 25),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(DataError, match=rf"^{name} must be .*, but got {value}; give such a number$"):
        Device(**{name: value})  # type: ignore[arg-type]


def test_levels_without_the_figures_needed_are_refused() -> None:
    bare, moment = Level(model="a", exit=0, accuracy=0.5, macs=1), Moment(time_s=0, requests=1)
    for device in (Device(), Device(power_w=None)):
        with pytest.raises(BundleError, match=r"a level must have .*, but a exit 0 has none; export with"):
            device.advance(device.start, moment, bare, 1.0)
