"""The stopwatch ends when it may and not before, whatever the passes say that they took."""

from itertools import accumulate, count, cycle, repeat
from operator import mul
from time import perf_counter

import pytest

from nas.latency.rounds import Pass, Stopwatch

LONG_S = 30.0


def steady(*times_s: float) -> Pass:
    return lambda: times_s


def test_a_steady_network_is_loaded_several_times_and_ends_early() -> None:
    loads = count()

    def load() -> Pass:
        next(loads)
        return steady(1e-3, 2e-3)

    timing = Stopwatch(steady(5e-4), floor_s=5e-4).time(load, seconds=LONG_S, target="made up")
    assert 4 <= next(loads) < 50  # a thousand fit into the time
    assert len(timing.rounds) % 8 == 0
    assert len(timing.rounds) == len(timing.reference_s)
    assert {times_s.shape for times_s in timing.rounds} == {(1, 2)}
    latency = timing.latency()
    assert latency.p50_ms == latency.low_ms == latency.high_ms == pytest.approx(3)
    assert (latency.target, latency.slowdown) == ("made up", 1.0)


def test_the_fastest_load_counts() -> None:
    places = cycle([1.3e-3, 1.0e-3, 1.2e-3])
    timing = Stopwatch(steady(1e-3), 1e-3).time(lambda: steady(next(places)), seconds=LONG_S, target="")
    assert timing.latency().p50_ms == pytest.approx(1)


@pytest.mark.parametrize(
    ("reference_s", "faster"), [(1.5, 1.0), (1.0, 0.98)], ids=["slow phase", "ever faster"]
)
def test_until_the_time_is_up(reference_s: float, faster: float) -> None:
    times_s = accumulate(repeat(faster), mul, initial=1e-3)
    begin = perf_counter()
    Stopwatch(steady(reference_s), floor_s=1.0).time(lambda: lambda: [next(times_s)], seconds=0.3, target="")
    assert perf_counter() - begin >= 0.3


def test_a_slow_phase_is_corrected() -> None:
    stopwatch = Stopwatch(steady(3e-3), floor_s=2e-3)
    latency = stopwatch.time(lambda: steady(6e-3), seconds=0.05, target="").latency()
    assert latency.slowdown == pytest.approx(1.5)
    assert latency.p50_ms == pytest.approx(4)
    assert latency.high_ms == pytest.approx(6)


@pytest.mark.parametrize(("pass_s", "passes"), [(0.0, 25), (1e-5, 25), (1e-4, 10), (1e-3, 1), (5.0, 1)])
def test_four_rounds_of_about_a_millisecond_at_least(pass_s: float, passes: int) -> None:
    loads = count()

    def load() -> Pass:
        next(loads)
        return steady(pass_s)

    timing = Stopwatch(steady(1e-3), floor_s=1e-3).time(load, seconds=0, target="")
    assert [times_s.shape for times_s in timing.rounds] == [(passes, 1)] * 4
    assert next(loads) == 1


def test_the_floor_is_the_least_that_was_seen() -> None:
    times_s = iter([4.0] * 20 + [3.0] * 20 + [5.0] * 100)
    stopwatch = Stopwatch(lambda: [next(times_s)], floor_s=4.0)
    floors = []
    for _ in range(3):  # of four rounds with five passes of the reference network each
        timing = stopwatch.time(lambda: steady(1.0), seconds=0, target="")
        floors.append(timing.floor_s)
        assert stopwatch.floor_s == timing.floor_s
    assert floors == [4.0, 3.0, 3.0]
    assert timing.slowdown == pytest.approx(5 / 3)


def test_the_floor_is_looked_for_at_first() -> None:
    times_s = count(1000, -1)
    assert Stopwatch(lambda: [max(7, next(times_s))]).floor_s == 7
