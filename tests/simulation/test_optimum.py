"""The best in hindsight is that of all sequences tried one by one, and nothing beats it."""

from itertools import product
from random import Random

import pytest

from nas.bundle import Latency, Level
from nas.runtime import BatteryBands, Deadline, EnergyUntil, Governor, Lowest, Policy, ThermalClamp
from nas.simulation import Device, Moment, Replay, Trace, best_replay, replay_governor, replay_level


def _levels(count: int = 3) -> tuple[Level, ...]:
    return tuple(
        Level(
            model="a",
            exit=i,
            accuracy=0.5 + 0.4 * (i / count) ** 0.5,
            macs=i,
            latency=Latency(p50_ms=i + 1, p95_ms=1.3 * (i + 1), spread=0.1, runs=9, target="test machine"),
        )
        for i in range(count)
    )


def _random_case(random: Random, moments: int, units: int) -> tuple[Device, Trace]:
    """A battery and a chip that are enough for some levels some of the time."""
    battery, chip = random.choice([(True, False), (False, True), (True, True)])
    most_mj = moments * 5 * 3 * 2.0  # five requests a second, three milliseconds at 2 W each
    device = Device(
        capacity_mj=random.uniform(0.2, 1.2) * most_mj if battery else None,
        idle_w=random.choice([0.0, 0.003]),
        charge_ratio=random.uniform(0.1, 1),
        heating_c_per_j=random.choice([300.0, 1000.0]) if chip else 0.0,
        cooling_s=random.choice([3.0, 30.0]),
        throttle_c=random.choice([40.0, 80.0]),
        throttle_slowdown=random.choice([1.5, 2.0]),
        charge_units=units,
        heat_units=units,
    )
    until_s = random.choice([None, float(moments)])
    day = [
        Moment(
            time_s=second,
            requests=random.choice([0, 1, 10, random.randint(2, 9)]),
            slowdown=random.choice([1.0, 1.0, 1.7]),
            noise=random.uniform(0.9, 1.1),
            deadline_ms=random.choice([None, 2.5, 4.0]),
            charger_w=random.choice([0.0, 0.0, 0.0, 0.04, 0.2]),
            heat_w=random.choice([0.0, 0.0, 0.02]),
            until_s=until_s,
        )
        for second in range(moments)
    ]
    return device, Trace(tuple(day))


def _total(device: Device, trace: Trace, numbers: tuple[int, ...], levels: tuple[Level, ...]) -> float:
    """The sum of accuracies of one sequence of levels."""
    state, total = device.start, 0.0
    for moment, number in zip(trace, numbers, strict=True):
        state, outcome = device.advance(state, moment, levels[number], trace.step_s)
        total += outcome.answered * outcome.accuracy
    return total


def _score(replay: Replay) -> float:
    return sum(step.outcome.answered * step.outcome.accuracy for step in replay.steps)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_best_of_all_sequences(seed: int) -> None:
    levels, random = _levels(), Random(seed)
    device, trace = _random_case(random, moments=6, units=random.choice([7, 20, 60]))
    sequences = product(range(len(levels)), repeat=len(trace.moments))
    best = max(_total(device, trace, numbers, levels) for numbers in sequences)
    assert _score(best_replay(device, trace, levels)) == pytest.approx(best, rel=1e-12)


def test_the_cases_are_not_all_alike() -> None:
    """Some are best served by several levels, and in some no level all day is as good."""
    levels, varied = _levels(), 0
    for seed in range(40):
        random = Random(seed)
        device, trace = _random_case(random, moments=6, units=random.choice([7, 20, 60]))
        alone = max(_score(replay_level(device, trace, levels, number)) for number in range(3))
        varied += _score(best_replay(device, trace, levels)) > alone * 1.001
    assert varied > 20


@pytest.mark.parametrize("seed", range(10))
def test_its_steps_replayed_are_its_own_score(seed: int) -> None:
    levels = _levels(5)
    device, trace = _random_case(Random(seed), moments=100, units=200)
    best = best_replay(device, trace, levels)
    numbers = tuple(step.level for step in best.steps)
    assert _total(device, trace, numbers, levels) == _score(best)
    assert best.accuracy == pytest.approx(_score(best) / trace.requests)
    state = device.start
    for step in best.steps:
        assert step.state == state
        state, outcome = device.advance(state, step.moment, levels[step.level], trace.step_s)
        assert outcome == step.outcome


@pytest.mark.parametrize("seed", range(20))
def test_nothing_beats_it(seed: int) -> None:
    levels, random = _levels(5), Random(seed)
    device, trace = _random_case(random, moments=100, units=random.choice([50, 400]))
    best = _score(best_replay(device, trace, levels))
    policies: list[Policy] = [BatteryBands(), Deadline(), ThermalClamp(pause_s=1)]
    if device.capacity_mj is not None:
        settings = {"idle_w": device.idle_w, "power_w": device.power_w}
        policies.append(EnergyUntil(capacity_mj=device.capacity_mj, usual_hz=5, **settings))
    policies.append(Lowest(policies))
    governors = [Governor(levels, policy, dwell_s=0) for policy in policies]
    replays = [replay_governor(device, trace, governor) for governor in governors]
    replays += [replay_level(device, trace, levels, number) for number in range(len(levels))]
    assert all(_score(replay) <= best * (1 + 1e-12) for replay in replays)


def test_an_empty_battery_is_worth_it_where_a_charger_comes() -> None:
    """All is spent on the many requests of the first moment, for the one of the second would cost more."""
    moments = [Moment(time_s=second, requests=requests) for second, requests in enumerate((10, 1))]
    moments.append(Moment(time_s=2, requests=10, charger_w=0.04))
    device = Device(capacity_mj=100, charge_ratio=0.4, charge_units=50)
    best = best_replay(device, Trace(tuple(moments)), _levels(2))
    assert [step.level for step in best.steps][::2] == [1, 1]
    assert [step.outcome.answered for step in best.steps] == [10, 0, 10]


def test_more_levels_and_a_fuller_battery_never_make_it_worse() -> None:
    device, trace = _random_case(Random(3), moments=60, units=100)
    totals = [_score(best_replay(device, trace, _levels(5)[:count])) for count in range(1, 6)]
    assert totals == sorted(totals)
    charges = [Device(capacity_mj=900, charge_ratio=share / 5, charge_units=300) for share in range(6)]
    steady = Trace(tuple(Moment(time_s=second, requests=10) for second in range(20)))
    totals = [_score(best_replay(each, steady, _levels())) for each in charges]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]
