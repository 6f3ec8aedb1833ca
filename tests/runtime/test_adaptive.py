"""A deadline is kept through slow-downs and noise, and a battery lasts until it may be empty, not longer."""

from dataclasses import replace
from random import Random

import pytest

from nas.bundle import Latency, Level
from nas.errors import BundleError
from nas.runtime import Deadline, EnergyUntil, Governor, Signals

HOUR_S, STEP_S = 3600, 10
ACCURACIES = (0.6, 0.7, 0.75, 0.76, 0.8)  # over equal steps of energy all but level 3 are on the hull


def _levels(count=5):
    return tuple(
        Level(
            model="a",
            exit=i,
            accuracy=ACCURACIES[i],
            macs=i,
            latency=Latency(p50_ms=i + 1, p95_ms=1.2 * (i + 1), spread=0.1, runs=9, target="test machine"),
            energy_mj=2.0 * (i + 1),
            energy_source="measured",
        )
        for i in range(count)
    )


def _calm(policy, levels=None):
    """A governor that may switch at each step."""
    return Governor(levels or _levels(), policy, dwell_s=0)


def _serve(governor, slowdowns, deadline_ms, *, noise=0.0, seed=0):
    """The levels chosen after each observation of the level in force."""
    random, reached = Random(seed), []
    for slowdown in slowdowns:
        p50_ms = governor.levels[governor.level].latency.p50_ms
        latency_ms = p50_ms * slowdown * max(0.5, random.gauss(1, noise))
        governor = governor.step(Signals(latency_ms=latency_ms, deadline_ms=deadline_ms))
        reached.append(governor.level)
    return reached


def _highest(deadline_ms, slowdown):
    """The highest level that fits, else the lowest."""
    fitting = [i for i, level in enumerate(_levels()) if level.latency.p95_ms * slowdown <= deadline_ms]
    return max(fitting, default=0)


@pytest.mark.parametrize("seed", range(20))
def test_a_sudden_slow_down_is_answered_within_two_steps_and_so_is_its_end(seed):
    deadline_ms = Random(seed).uniform(2.5, 12.5)
    slowdowns = [1.0] * 20 + [2.0] * 20 + [1.0] * 20
    reached = _serve(_calm(Deadline()), slowdowns, deadline_ms)
    assert all(level <= _highest(deadline_ms, 2) for level in reached[21:40])
    assert reached[39] >= _highest(deadline_ms, 2.1)
    assert all(level <= _highest(deadline_ms, 1) for level in reached)
    assert all(level >= _highest(deadline_ms, 1.1) for level in [*reached[10:20], *reached[45:]])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("level", range(5))
def test_noise_alone_never_leaves_a_level_with_slack(seed, level):
    deadline_ms = 1.3 * _levels()[level].latency.p95_ms
    reached = _serve(_calm(Deadline()), [1.0] * 1000, deadline_ms, noise=0.05, seed=seed)
    assert min(reached) >= level


def _with_thresholds():
    """Of the last level most images leave early: on average it takes little, on its longest way much."""
    fast, last = _levels(2)
    latency = Latency(p50_ms=1.5, p95_ms=6.2, spread=0.1, runs=9, target="test machine")
    return fast, replace(last, latency=latency, thresholds=(0.5,), shares=(0.8, 0.2))


@pytest.mark.parametrize("seed", range(10))
def test_an_image_that_goes_far_is_no_slow_down(seed):
    governor, random = _calm(Deadline(), _with_thresholds()), Random(seed)
    reached = []
    for _ in range(300):
        latency_ms = 1.0 if governor.level == 0 else random.choice((0.4, 0.4, 0.4, 0.4, 6.0))
        governor = governor.step(Signals(latency_ms=latency_ms, deadline_ms=8.0))
        reached.append(governor.level)
    assert reached[5:] == [1] * 295


def test_what_takes_longer_than_the_longest_way_is_a_slow_down():
    governor = _calm(Deadline(), _with_thresholds())
    for _ in range(20):
        governor = governor.step(Signals(latency_ms=0.4, deadline_ms=8.0))
    assert governor.level == 1
    governor = governor.step(Signals(latency_ms=12.0, deadline_ms=8.0))
    assert governor.level == 0
    for _ in range(20):
        governor = governor.step(Signals(latency_ms=1.0, deadline_ms=8.0))
    assert governor.level == 1, "the fast level shows that it is over"


@pytest.mark.parametrize("seed", range(10))
def test_a_noisy_slow_down_is_answered_too(seed):
    reached = _serve(_calm(Deadline()), [1.0] * 50 + [2.0] * 100, 7.3, noise=0.05, seed=seed)
    assert min(reached[:50]) >= 3
    assert sum(level <= 2 for level in reached[52:]) >= 95
    assert min(reached[52:]) >= 1


def test_a_deadline_is_that_of_the_setting_else_of_the_signals():
    signals = [Signals(), Signals(deadline_ms=2.6), Signals(deadline_ms=1e9), Signals(deadline_ms=1)]
    assert [_calm(Deadline()).step(each).level for each in signals] == [4, 1, 4, 0]
    assert [_calm(Deadline(deadline_ms=3.8)).step(each).level for each in signals] == [2] * 4
    assert _calm(Deadline()).step(signals[0]).reason == "no deadline: level 4 kept"
    assert "deadline 1 ms" in _calm(Deadline()).step(signals[3]).reason


def test_more_caution_never_chooses_a_higher_level():
    for deadline_ms in (2.7, 4.0, 6.1, 7.3):
        reached = [
            _serve(_calm(Deadline(caution=caution)), [1.0, 1.3, 0.9, 1.1], deadline_ms)[-1]
            for caution in (0, 1, 2, 4, 100)
        ]
        assert reached == sorted(reached, reverse=True)
        assert reached[0] > reached[-1]


def _drain(governor, capacity_mj, hertz, *, idle_w=0.0, seed=None):
    """An hour on a battery: the levels that ran, the share left, and the time when nothing was left."""
    left_mj, reached, empty_s = capacity_mj, [], None
    random = Random(seed)
    for time_s in range(0, HOUR_S, STEP_S):
        rate_hz = hertz if seed is None else hertz * random.uniform(0.5, 1.5)
        governor = governor.step(
            Signals(
                battery_ratio=left_mj / capacity_mj,
                charging=False,
                time_s=time_s,
                requests_hz=rate_hz if time_s else None,
                until_s=HOUR_S,
            )
        )
        reached.append(governor.level)
        used_mj = rate_hz * STEP_S * governor.levels[governor.level].energy_mj + 1000 * idle_w * STEP_S
        left_mj = max(0.0, left_mj - used_mj)
        if not left_mj and empty_s is None:
            empty_s = time_s
    return reached, left_mj / capacity_mj, empty_s


@pytest.mark.parametrize("dwell_s", [0, 30])
@pytest.mark.parametrize("idle_w", [0.0, 0.02])
@pytest.mark.parametrize("hertz", [0.5, 20])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
def test_a_battery_lasts_until_the_time_and_no_longer(share, hertz, idle_w, dwell_s):
    """At capacities between what the cheapest and what the dearest level need; to the last dwell at worst."""
    levels = _levels()
    spent_mj = [hertz * HOUR_S * level.energy_mj for level in (levels[0], levels[-1])]
    capacity_mj = spent_mj[0] + share * (spent_mj[1] - spent_mj[0]) + 1000 * idle_w * HOUR_S
    policy = EnergyUntil(capacity_mj=capacity_mj, idle_w=idle_w, usual_hz=hertz)
    _, left_ratio, empty_s = _drain(
        Governor(levels, policy, dwell_s=dwell_s), capacity_mj, hertz, idle_w=idle_w
    )
    assert empty_s is None or empty_s >= HOUR_S - dwell_s
    assert left_ratio < 0.03


@pytest.mark.parametrize("seed", range(5))
def test_a_battery_lasts_though_requests_vary(seed):
    capacity_mj = 10 * HOUR_S * 6.0
    policy = EnergyUntil(capacity_mj=capacity_mj)
    _, left_ratio, empty_s = _drain(_calm(policy), capacity_mj, 10, seed=seed)
    assert empty_s is None or empty_s >= 0.98 * HOUR_S
    assert left_ratio < 0.03


@pytest.mark.parametrize(("spare_mj", "neighbors"), [(3, {0, 1}), (5, {1, 2}), (7, {2, 4}), (9, {2, 4})])
def test_at_constant_load_only_neighbors_on_the_hull_are_mixed_evenly(spare_mj, neighbors):
    """Level 3 is less accurate than levels 2 and 4 in turn; each sixth of the hour has its share of both."""
    levels = _levels()
    capacity_mj = 10 * HOUR_S * spare_mj
    policy = EnergyUntil(capacity_mj=capacity_mj, usual_hz=10, reserve_ratio=0)
    reached, _, _ = _drain(_calm(policy), capacity_mj, 10)
    low, high = sorted(neighbors)
    expected = (spare_mj - levels[low].energy_mj) / (levels[high].energy_mj - levels[low].energy_mj)
    sixth = len(reached) // 6
    for part in (reached[i * sixth : (i + 1) * sixth] for i in range(6)):
        settled = part[1:-3]
        assert set(settled) == neighbors
        assert settled.count(high) / len(settled) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("capacity_mj", "level"), [(1.1, 4), (0.15, 0)])
def test_plenty_is_the_top_and_too_little_the_lowest(capacity_mj, level):
    """Shares of what the dearest level needs."""
    capacity_mj *= 10 * HOUR_S * 10.0
    reached, _, _ = _drain(_calm(EnergyUntil(capacity_mj=capacity_mj, usual_hz=10)), capacity_mj, 10)
    assert set(reached) == {level}


@pytest.mark.parametrize("missing", ["battery_ratio", "time_s", "until_s"])
def test_what_is_missing_gives_the_top(missing):
    known = {"battery_ratio": 0.1, "time_s": 0.0, "until_s": 100.0, "requests_hz": 10.0}
    policy = EnergyUntil(capacity_mj=1000, usual_hz=10)
    assert _calm(policy).step(Signals(**known)).level == 0
    del known[missing]
    assert _calm(policy).step(Signals(**known)).level == 4


def test_a_full_battery_that_charges_a_time_that_is_over_and_no_requests_give_the_top():
    short = {"time_s": 0.0, "until_s": 1e6, "requests_hz": 10.0}
    policy = EnergyUntil(capacity_mj=1000, usual_hz=10)
    signals = [
        Signals(battery_ratio=1.0, charging=False, **short),
        Signals(battery_ratio=1.0, charging=True, **short),
        Signals(battery_ratio=0.5, charging=True, **short),
        Signals(battery_ratio=0.5, **short | {"until_s": 0.0}),
        Signals(battery_ratio=0.5, **short | {"until_s": -5.0}),
    ]
    assert [_calm(policy).step(each).level for each in signals] == [0, 4, 0, 4, 4]
    assert "charging at 100 %" in _calm(policy).step(signals[1]).reason
    idle = [Signals(battery_ratio=0.1, time_s=second, until_s=1e6, requests_hz=0) for second in range(9)]
    governor = _calm(EnergyUntil(capacity_mj=1000))
    for each in idle:
        governor = governor.step(each)
        assert governor.level == 4


def test_a_charger_that_gives_enough_lifts_the_level():
    signals = Signals(battery_ratio=0.5, charging=True, time_s=0.0, until_s=100.0, requests_hz=10.0)
    reached = [
        _calm(EnergyUntil(capacity_mj=6000, charger_w=watts, usual_hz=10)).step(signals).level
        for watts in (0, 0.01, 0.03, 0.05, 0.1)
    ]
    assert reached == sorted(reached)
    assert (reached[0], reached[-1]) == (0, 4)


def test_levels_without_the_figures_needed_are_refused():
    bare = (Level(model="a", exit=0, accuracy=0.5, macs=1), Level(model="a", exit=1, accuracy=0.6, macs=2))
    with pytest.raises(BundleError, match=r"must have a measured latency, but a exit . has none; export"):
        _calm(Deadline(deadline_ms=1), bare).step(Signals())
    signals = Signals(battery_ratio=0.5, time_s=0, until_s=100)
    with pytest.raises(BundleError, match=r"must have energy, or a latency .* but a exit . has none; export"):
        _calm(EnergyUntil(capacity_mj=1, usual_hz=1), bare).step(signals)
