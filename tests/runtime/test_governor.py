"""Whatever the signals, a governor stays legal, calm and replayable."""

import json
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate, pairwise
from random import Random
from typing import final

import pytest

from nas.bundle import Latency, Level
from nas.errors import BundleError, DataError
from nas.runtime import BatteryBands, Choice, Governor, Policy, Signals, SyntheticBattery


def _calm(levels, policy=None, **state):
    """A governor that may switch at each step."""
    return Governor(levels, policy or BatteryBands(), dwell_s=0, **state)


def _levels(count):
    return tuple(
        Level(
            model="a",
            exit=i,
            accuracy=(i + 1) / (count + 1),
            macs=i,
            latency=Latency(p50_ms=i + 1.0, p95_ms=i + 2.0, spread=0.1, runs=9, target="test machine"),
        )
        for i in range(count)
    )


def _trace(seed, length=300):
    """A random walk of the charge with gaps, chargers and irregular times."""
    random = Random(seed)
    charge, time_s = random.random(), 0.0
    for _ in range(length):
        charge = min(1.0, max(0.0, charge + random.gauss(0, 0.05)))
        time_s += random.expovariate(1 / 10)
        yield Signals(
            battery_ratio=random.choice([charge, charge, charge, None]),
            charging=random.choice([False, False, False, None, True]),
            time_s=random.choice([time_s, time_s, time_s, None]),
        )


def _replay(governor, trace):
    return list(accumulate(trace, Governor.step, initial=governor))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("seed", range(4))
def test_every_step_is_legal_pure_and_told(count, seed):
    trace = list(_trace(seed))
    steps = _replay(Governor(_levels(count), BatteryBands()), trace)
    for (before, after), signals in zip(pairwise(steps), trace, strict=True):
        assert 0 <= after.level < count
        assert after.switched == (after.level != before.level)
        assert after == before.step(signals)
        ending = f"level {before.level} -> {after.level}" if after.switched else f"level {after.level} kept"
        assert after.reason.endswith(ending)
    assert steps == _replay(Governor(_levels(count), BatteryBands()), trace)


@pytest.mark.parametrize("seed", range(4))
def test_switches_keep_their_distance(seed):
    trace = [replace(signals, time_s=float(i)) for i, signals in enumerate(_trace(seed))]
    steps = _replay(Governor(_levels(4), BatteryBands(), dwell_s=20), trace)
    times = [step.switched_s for step in steps if step.switched]
    assert len(times) > 3
    assert all(later - earlier >= 20 for earlier, later in pairwise(times))


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_a_lower_charge_never_gives_a_higher_level(count):
    charges = [i / 500 for i in range(501)]
    for level in range(count):
        governor = _calm(_levels(count), level=level)
        reached = [governor.step(Signals(battery_ratio=charge)).level for charge in charges]
        assert reached == sorted(reached)
        assert (reached[0], reached[-1]) == (0, count - 1)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("hysteresis_ratio", [0.0, 0.01, 0.05])
def test_a_charge_that_trembles_around_a_bound_never_switches(count, hysteresis_ratio):
    random = Random(0)
    for bound in range(1, count):
        for level in (bound - 1, bound):
            policy = BatteryBands(hysteresis_ratio=hysteresis_ratio)
            governor = _calm(_levels(count), policy, level=level)
            for _ in range(50):
                tremble = 0.999 * random.uniform(-hysteresis_ratio, hysteresis_ratio)
                governor = governor.step(Signals(battery_ratio=bound / count + tremble))
                assert governor.level == level


def test_the_hysteresis_is_at_most_half_of_the_narrowest_band():
    policy = BatteryBands(bands=(0.2,), hysteresis_ratio=0.5)
    for level, charge, expected in ((1, 0.11, 1), (1, 0.09, 0), (0, 0.29, 0), (0, 0.31, 1)):
        assert Governor(_levels(2), policy, level=level).step(Signals(battery_ratio=charge)).level == expected


def test_reasons_name_the_bound_that_was_crossed():
    governor = Governor(_levels(3), BatteryBands(bands=(0.2, 0.43)), dwell_s=30)
    assert (governor.level, governor.switched) == (2, False)
    governor = governor.step(Signals(battery_ratio=0.41, time_s=0))
    assert governor.reason == "battery 41 %: level 2 kept"
    governor = governor.step(Signals(battery_ratio=0.38, time_s=10))
    assert governor.reason == "battery 38 % < 40 %: level 2 -> 1"
    governor = governor.step(Signals(battery_ratio=0.1, time_s=22))
    assert governor.reason == "battery 10 % < 17 %, but the last switch is too young by 18 s: level 1 kept"
    governor = governor.step(Signals(battery_ratio=0.1, time_s=40))
    assert governor.reason == "battery 10 % < 17 %: level 1 -> 0"
    governor = governor.step(Signals(time_s=80))
    assert governor.reason == "no battery reading: level 0 kept"
    governor = governor.step(Signals(battery_ratio=0.3, time_s=90))
    assert governor.reason == "battery 30 % > 23 %: level 0 -> 1"
    governor = governor.step(Signals(battery_ratio=0.1, charging=True, time_s=120))
    assert governor.reason == "charging: level 1 -> 2"


def test_without_a_battery_the_top_level_stays():
    steps = _replay(_calm(_levels(3)), [Signals(time_s=float(i)) for i in range(5)])
    assert {step.level for step in steps} == {2}
    assert steps[-1].reason == "no battery reading: level 2 kept"


def test_a_clock_that_begins_anew_does_not_freeze_the_level():
    governor = Governor(_levels(2), BatteryBands()).step(Signals(battery_ratio=0.1, time_s=1e9))
    assert governor.step(Signals(battery_ratio=0.9, time_s=0)).level == 1


def test_a_draining_battery_goes_down_level_by_level():
    levels = _levels(4)
    battery, governor, seen = SyntheticBattery(capacity_mj=1000), _calm(levels), []
    while battery.read().battery_ratio > 0:
        governor = governor.step(battery.read())
        seen.append(governor.level)
        battery = battery.use(levels[governor.level])
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {0, 1, 2, 3}


def test_a_governor_goes_on_from_its_json():
    levels = _levels(4)
    policy = BatteryBands(bands=(0.1, 0.5, 0.7), hysteresis_ratio=0.02)
    trace = list(_trace(1))
    half = reduce(Governor.step, trace[:150], Governor(levels, policy, dwell_s=5))
    restored = Governor.from_json(json.loads(json.dumps(half.to_json())), levels)
    assert restored == half
    assert _replay(restored, trace[150:]) == _replay(half, trace[150:])


@pytest.mark.parametrize(
    "edit",
    [
        {"policy": {"name": "magic"}},
        {"policy": 3},
        {"level": "high"},
        {"policy": {"name": "battery_bands", "x": 1}},
    ],
)
def test_json_of_something_else_is_refused(edit):
    record = _calm(_levels(2)).to_json() | edit
    with pytest.raises(DataError, match="a governor must be as to_json writes it"):
        Governor.from_json(record, _levels(2))


@pytest.mark.parametrize("bands", [(0.0, 0.5), (0.5, 0.4), (0.5, 0.5), (0.5, 1.0), (float("nan"), 0.5)])
def test_bands_rise_between_empty_and_full(bands):
    with pytest.raises(DataError, match="bands must rise between 0 and 1"):
        BatteryBands(bands=bands)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_settings_are_finite_and_not_negative(value):
    with pytest.raises(DataError, match="hysteresis_ratio must be from 0 to 1, but got"):
        BatteryBands(hysteresis_ratio=value)
    with pytest.raises(DataError, match="dwell_s must be from 0 to 1e\\+09, but got"):
        Governor(_levels(2), BatteryBands(), dwell_s=value)


def test_bands_fit_the_levels():
    with pytest.raises(BundleError, match="bands must be one fewer than the 3 levels of the dial, but got 1"):
        Governor(_levels(3), BatteryBands(bands=(0.5,))).step(Signals(battery_ratio=0.5))


@pytest.mark.parametrize("level", [3, -2])
def test_a_level_that_is_not_there_is_refused(level):
    with pytest.raises(BundleError, match="level must be from 0 to 2"):
        _calm(_levels(3), level=level)


def test_a_governor_without_levels_is_refused():
    with pytest.raises(BundleError, match="must have levels to choose from, but got none; give"):
        _calm(())


@final
@dataclass(frozen=True)
class Stubborn(Policy):
    position: int

    def decide(self, situation):
        return Choice(self.position, "as always")


def test_a_policy_of_ones_own_is_one_method():
    governor = Governor(_levels(3), Stubborn(1)).step(Signals())
    assert (governor.level, governor.switched, governor.reason) == (1, True, "as always: level 2 -> 1")
    with pytest.raises(BundleError, match="from 0 to 2, but got 7; mend Stubborn"):
        Governor(_levels(3), Stubborn(7)).step(Signals())
    with pytest.raises(TypeError, match="but got Stubborn; store"):
        governor.to_json()


def test_the_dial_leaves_out_levels_that_another_beats():
    cheap, poor, best = _levels(3)
    poor = replace(poor, accuracy=0.1)
    drained, full = Signals(battery_ratio=0.0), Signals(battery_ratio=1.0)
    governor = _calm((cheap, poor, best))
    assert [governor.step(signals).level for signals in (drained, full)] == [0, 2]
    middle = governor.step(Signals(battery_ratio=0.45))
    assert middle.level in (0, 2)


def test_a_dial_that_is_given_is_kept_to():
    governor = _calm(_levels(5), dial=(1, 3))
    steps = _replay(governor, [Signals(battery_ratio=charge / 100) for charge in range(100, -1, -1)])
    assert {step.level for step in steps} == {1, 3}
    for dial in ((3, 1), (), (1, 5), (-1, 2)):
        with pytest.raises(DataError, match="dial must be levels from 0 to 4 in rising order, but got"):
            _calm(_levels(5), dial=dial)
