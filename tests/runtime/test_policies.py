"""Whatever the signals, every policy and composition is legal, pure and plain JSON; each does as it says."""

import json
from itertools import accumulate, pairwise
from random import Random

import pytest

from nas.bundle import Latency, Level, undominated
from nas.errors import DataError
from nas.runtime import (
    BatteryBands,
    Charger,
    Deadline,
    EnergyUntil,
    Governor,
    Lowest,
    Signals,
    ThermalClamp,
    UserPin,
)
from nas.runtime.settings import policy_from_json, policy_to_json

SEQUENCES, STEPS = 500, 8  # for each of 20 seeds: 10,000 in all
HUGE = 1e15


def _levels(count, random=None, *, timed=True, powered=True):
    """Levels whose costs rise; with `random`, accuracy does not always."""
    levels = []
    for i in range(count):
        accuracy = random.random() if random else (i + 1) / (count + 1)
        latency = Latency(p50_ms=i + 1.0, p95_ms=1.2 * i + 1.2, spread=0.1, runs=9, target="test machine")
        energy = {"energy_mj": 2.0 * (i + 1), "energy_source": "measured"} if powered else {}
        timing = latency if timed else None
        levels.append(Level(model="a", exit=i, accuracy=accuracy, macs=i, latency=timing, **energy))
    return tuple(levels)


def _calm(policy, count=5, **state):
    """A governor that may switch at each step."""
    return Governor(_levels(count), policy, dwell_s=0, **state)


def _follow(governor, trace):
    return list(accumulate(trace, Governor.step, initial=governor))[1:]


def _reached(governor, trace):
    return [step.level for step in _follow(governor, trace)]


def _single(random, levels):
    """A policy that these levels allow."""
    timed, powered = levels[0].latency is not None, levels[0].energy_mj is not None
    count = len(undominated(levels))
    policies = [
        BatteryBands(hysteresis_ratio=random.choice([0, 0.03, 1])),
        BatteryBands(bands=[(i + 1) / count for i in range(count - 1)]),
        Charger(unplugged_ratio=random.choice([0, 0.5, 1])),
        ThermalClamp(pause_s=random.choice([0, 5, 1e9])),
    ]
    if timed:
        policies += [Deadline(), Deadline(deadline_ms=random.choice([0, 3, HUGE]))]
    if timed or powered:
        settings = {"power_w": random.choice([0, 1]), "charger_w": random.choice([0, 2])}
        usual_hz = random.choice([None, 0, 10])
        policies += [EnergyUntil(capacity_mj=mj, usual_hz=usual_hz, **settings) for mj in (1e-9, 1e6)]
    return random.choice(policies)


def _policy(random, levels, depth=2):
    """The same, or a composition of such."""
    kind = random.randrange(3) if depth else 0
    if kind == 0:
        return _single(random, levels)
    inner = [_policy(random, levels, depth - 1) for _ in range(random.randint(1, 3))]
    return UserPin(inner[0]) if kind == 1 else Lowest(inner)


def _signals(random):
    """What may be missing, usual or extreme, at times that go on, go back or are far away."""
    time_s = 0.0
    for _ in range(STEPS):
        time_s += random.choice([0, 1, 1, 10, 1000, -50])
        readings = {
            "battery_ratio": (0.0, 1.0, random.random(), 5e-324),
            "charging": (False, False, True),
            "temperature_c": (-273.0, 20.0, 72.0, 80.0, HUGE),
            "load": (0.0, 1.0, HUGE),
            "time_s": (time_s, time_s, time_s, -HUGE, HUGE),
            "latency_ms": (0.0, 1.0, random.uniform(0.5, 20), 5e-324, HUGE),
            "requests_hz": (0.0, 0, 1.0, random.uniform(0, 100), 5e-324, HUGE),
            "deadline_ms": (0.0, 5e-324, random.uniform(0.5, 20), HUGE),
            "until_s": (time_s - 10, time_s, time_s + 1e-9, time_s + 1000, -HUGE, HUGE),
            "pin": (0, 1, 8, 10**9),
        }
        known = {name: values for name, values in readings.items() if random.random() < 0.7}
        yield Signals(**{name: random.choice(values) for name, values in known.items()})


@pytest.mark.parametrize("seed", range(20))
def test_every_step_is_legal_pure_told_and_goes_on_from_its_json(seed):
    random = Random(seed)
    for _ in range(SEQUENCES):
        timed, powered = random.choice([(True, True), (True, False), (False, True), (False, False)])
        levels = _levels(random.randint(1, 9), random, timed=timed, powered=powered)
        governor = twin = Governor(levels, _policy(random, levels), dwell_s=random.choice([0, 0, 30]))
        for number, signals in enumerate(_signals(random)):
            if number == STEPS // 2:
                text = json.dumps(governor.to_json(), allow_nan=False)
                twin = Governor.from_json(json.loads(text), levels)
                assert twin == governor
            before, governor, twin = governor.level, governor.step(signals), twin.step(signals)
            assert governor == twin
            assert governor.level in governor.dial
            assert governor.switched == (governor.level != before)
            switch = f": level {before} -> {governor.level}"
            assert governor.reason.endswith(switch if governor.switched else f": level {before} kept")


@pytest.mark.parametrize("seed", range(5))
def test_policies_go_through_json(seed):
    random = Random(seed)
    for _ in range(200):
        policy = _policy(random, _levels(random.randint(1, 9), random))
        assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy
    assert policy_from_json({"name": "charger"}) == Charger()


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({}, KeyError),
        ({"name": "magic"}, KeyError),
        ({"name": "charger", "magic": 1}, TypeError),
        ({"name": "charger", "unplugged_ratio": "half"}, TypeError),
        ({"name": "energy_until"}, TypeError),
        ({"name": "user_pin"}, TypeError),
        ({"name": "lowest", "policies": []}, DataError),
        ({"name": "user_pin", "otherwise": {"name": "magic"}}, KeyError),
        ({"name": "lowest", "policies": [{"name": "charger", "unplugged_ratio": 2}]}, DataError),
    ],
)
def test_json_of_no_policy_is_refused(record, error):
    with pytest.raises(error):
        policy_from_json(record)
    with pytest.raises(DataError, match=r"must .*, but got .*; \w+"):
        Governor.from_json({"policy": record}, _levels(3))


@pytest.mark.parametrize(
    ("policy", "name", "value"),
    [
        (Charger, "unplugged_ratio", -0.1),
        (Charger, "unplugged_ratio", 1.1),
        (ThermalClamp, "hot_c", float("nan")),
        (ThermalClamp, "cool_c", 75.1),
        (ThermalClamp, "pause_s", -1),
        (Deadline, "deadline_ms", -1),
        (Deadline, "deadline_ms", float("inf")),
        (Deadline, "caution", -1),
        (Deadline, "noise", 0),
        (Deadline, "process_noise", 0),
        (Deadline, "memory_ratio", 1),
        (EnergyUntil, "capacity_mj", 0),
        (EnergyUntil, "capacity_mj", float("inf")),
        (EnergyUntil, "idle_w", -1),
        (EnergyUntil, "power_w", -1),
        (EnergyUntil, "charger_w", -1),
        (EnergyUntil, "usual_hz", float("nan")),
        (EnergyUntil, "reserve_ratio", 1),
    ],
)
def test_settings_out_of_range_are_refused_in_one_sentence(policy, name, value):
    needed = {"capacity_mj": 1.0} if policy is EnergyUntil else {}
    with pytest.raises(DataError, match=rf"^{name} must be [^\n]*, but got {value}; [^\n]*$"):
        policy(**needed | {name: value})


@pytest.mark.parametrize(("ratio", "unplugged"), [(0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.99, 3), (1, 4)])
def test_a_charger_lifts_to_the_top(ratio, unplugged):
    trace = [Signals(charging=charging) for charging in (True, False, None, True)]
    steps = _follow(_calm(Charger(unplugged_ratio=ratio)), trace)
    assert [step.level for step in steps] == [4, unplugged, unplugged, 4]
    assert [step.reason.partition(":")[0] for step in steps] == ["charging", *["no charger"] * 2, "charging"]


def test_a_clamp_sinks_while_hot_and_rises_when_cool_once_a_pause():
    heat = [75.0] * 25 + [72.0] * 20 + [None] * 20 + [70.0] * 25
    trace = [Signals(temperature_c=degrees, time_s=second) for second, degrees in enumerate(heat)]
    reached = _reached(_calm(ThermalClamp(hot_c=75, cool_c=70, pause_s=5)), trace)
    assert reached[:25] == [3] * 5 + [2] * 5 + [1] * 5 + [0] * 10
    assert reached[25:65] == [0] * 40
    assert reached[65:] == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 10


@pytest.mark.parametrize("seed", range(10))
def test_a_clamp_never_moves_faster_or_without_reason(seed):
    random, degrees, trace = Random(seed), 70.0, []
    for second in range(500):
        degrees += random.gauss(0, 2) + (72 - degrees) / 20
        trace.append(Signals(temperature_c=random.choice([degrees, degrees, None]), time_s=second))
    steps = _follow(_calm(ThermalClamp(hot_c=75, cool_c=70, pause_s=7)), trace)
    moves = [second for second, step in enumerate(steps) if step.switched]
    assert len(moves) > 5
    assert all(later - earlier >= 7 for earlier, later in pairwise(moves))
    for second, (before, after) in enumerate(pairwise(step.level for step in steps), 1):
        heat = trace[second].temperature_c
        if after != before:
            assert after - before == (-1 if heat >= 75 else 1)
            assert heat >= 75 or heat <= 70


def test_a_clamp_sinks_from_the_level_in_force():
    clamp = Lowest([Charger(unplugged_ratio=0.5), ThermalClamp(pause_s=0)])
    trace = [Signals(temperature_c=degrees) for degrees in (20, 80, 80, 80, 80, 80)]
    assert _reached(_calm(clamp), trace) == [2, 1, 0, 0, 0, 0]
    assert _reached(_calm(ThermalClamp(pause_s=0), level=2), [Signals(temperature_c=80)]) == [1]


def test_a_pin_beats_the_other_policy_while_it_is_set():
    pins = [None, 4, 4, 0, None]
    trace = [Signals(pin=pin, charging=False) for pin in pins]
    steps = _follow(_calm(UserPin(Charger(unplugged_ratio=0.5))), trace)
    assert [step.level for step in steps] == [2, 4, 4, 0, 2]
    assert steps[3].reason == "pinned to 0: level 4 -> 0"
    assert steps[4].reason == "no charger: level 0 -> 2"


@pytest.mark.parametrize(("pin", "level"), [(0, 1), (1, 1), (2, 1), (3, 3), (4, 3), (10**9, 3)])
def test_a_pin_that_is_not_on_the_dial_is_the_next_below(pin, level):
    governor = _calm(UserPin(Charger()), dial=(1, 3))
    assert governor.step(Signals(pin=pin)).level == level


def test_what_the_other_policy_knows_outlives_a_pin():
    hot, pinned, unknown = Signals(temperature_c=80), Signals(temperature_c=20, pin=4), Signals()
    assert _reached(_calm(UserPin(ThermalClamp())), [hot, hot, pinned, unknown]) == [3, 2, 4, 2]


@pytest.mark.parametrize("seed", range(10))
def test_the_lowest_of_several_is_that_of_each_alone(seed):
    random, charge, degrees, trace = Random(seed), 0.7, 70.0, []
    for second in range(300):
        charge = min(1.0, max(0.0, charge + random.gauss(0, 0.03)))
        degrees += random.gauss(0, 2) + (72 - degrees) / 20
        charging = random.random() < 0.3
        signals = {"battery_ratio": charge, "temperature_c": degrees, "charging": charging}
        known = {name: value for name, value in signals.items() if random.random() < 0.9}
        trace.append(Signals(time_s=second, **known))
    policies = [Charger(unplugged_ratio=0.7), BatteryBands(hysteresis_ratio=0.08)]
    alone = zip(*(_follow(_calm(policy), trace) for policy in policies), strict=True)
    for together, each in zip(_follow(_calm(Lowest(policies)), trace), alone, strict=True):
        lowest = min(each, key=lambda step: step.level)
        assert together.level == lowest.level
        assert together.reason.partition(": level")[0] == lowest.reason.partition(": level")[0]


def test_a_policy_held_down_by_another_keeps_its_own_place():
    """At 47 % hysteresis keeps a level that was reached from above, and would not reach it from below."""
    trace = [Signals(battery_ratio=charge, temperature_c=heat) for charge, heat in ((0.6, 80), (0.49, 60))]
    policies = [BatteryBands(hysteresis_ratio=0.05), ThermalClamp(pause_s=0)]
    assert _reached(_calm(Lowest(policies), count=2), trace) == [0, 1]
    assert _reached(_calm(policies[0], count=2, level=0), trace[1:]) == [0]
