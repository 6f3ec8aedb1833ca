"""Calibrating visits networks again until two visits agree, as long as it may, and never a known one."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, final

import numpy as np
import pytest

from nas import Net, SearchSpace, Shape
from nas.bundle import Latency
from nas.errors import TargetError
from nas.latency import Measured, Target, Timing, calibrate, measure_exit
from nas.latency.survey import VISIT_S, Visits, measure_within
from nas.latency.target import Inputs
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), num_classes)

    x = net.input(input_shape)
    for stage in range(3):
        with net.scope(f"stage{stage}"):
            width = net.choice("width", *range(4, 36, 4))
            x = conv_norm_act(x, width, kernel_size=net.choice("kernel_size", 1, 3))
            net.exit(head, x)


def build_small(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = conv_norm_act(net.input(input_shape), net.choice("width", 4, 8, 12, 16, 20))
    net.exit(lambda x: linear(global_avg_pool(x), num_classes), x)


space = SearchSpace(build, "tests:space")
small = SearchSpace(build_small, "tests:small")


@final
class SizeTarget(Target):
    """A nanosecond for each byte of a file, times a factor for each visit by number; some visits fail.

    Its clock goes on by a second with each visit. The other exit that a visit measures takes no time.
    """

    def __init__(
        self,
        factor: Callable[[int], float] = lambda number: 1.0,
        *,
        failing: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.visits = Counter[tuple[bytes, ...]]()
        self._factor, self._failing = factor, failing

    @property
    def identity(self) -> str:
        return "by size"

    def clock_s(self) -> float:
        return float(self.visits.total())

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        if seconds == VISIT_S:
            self.visits[tuple(models)] += 1
            if self._failing(self.visits.total()):
                raise TargetError("lost")
        size_s = 1e-9 * sum(map(len, models))
        times_s = np.array([[self._factor(self.visits.total()) * size_s]])
        return Timing((times_s,) * 4, (), 0.0, self.identity)


Calibrate = Callable[..., list[tuple[Measured, ...]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Calibrate on the target's own clock: what was measured after each visit."""

    def run(space: SearchSpace, target: SizeTarget, **options: Any) -> list[tuple[Measured, ...]]:
        monkeypatch.setattr("nas.latency.survey.monotonic", target.clock_s)
        return list(calibrate(space, target, **options))

    return run


def is_true(network: Measured, of: SearchSpace = space) -> bool:
    """Whether all exits measured have their undisturbed times."""
    graph = of.graph(network.architecture)
    true_ms = {exit: measure_exit(SizeTarget(), graph, exit).p50_ms for exit in network.exits_ms}
    return network.exits_ms == pytest.approx(true_ms)


def test_each_network_is_visited_twice_where_nothing_disturbs(run: Calibrate) -> None:
    target = SizeTarget()
    found = run(space, target, seconds=60)[-1]
    assert len({network.architecture.id for network in found}) == len(found) >= 28
    assert target.visits.total() == 60
    assert Counter(target.visits.values())[2] >= 28
    assert max(target.visits.values()) == 2
    assert all(map(is_true, found))


def test_a_network_grows_known_with_each_visit(run: Calibrate) -> None:
    found = run(space, SizeTarget(), seconds=30)
    sizes = [len(networks) for networks in found]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert len(sizes) == 30


def test_some_networks_tell_another_exit(run: Calibrate) -> None:
    found = run(space, SizeTarget(), seconds=120)[-1]
    exits = Counter(tuple(network.exits_ms) for network in found)
    assert exits.keys() == {(2,), (2, 0), (2, 1)}
    assert exits[(2,)] == pytest.approx(len(found) / 2, rel=0.4)
    assert all(network.last_ms == network.exits_ms[2] for network in found)


def test_visits_are_apart(run: Calibrate) -> None:
    begun = [len(networks) for networks in run(space, SizeTarget(), seconds=100)]
    assert begun[:7] == [1, 2, 3, 4, 5, 6, 6]  # the first again after six seconds, of a hundred


def test_the_seed_decides(run: Calibrate) -> None:
    first, again, other = (run(space, SizeTarget(), seconds=9, seed=seed)[-1] for seed in (0, 0, 1))
    assert first == again != other


def test_known_networks_are_kept_and_not_measured_again(run: Calibrate) -> None:
    known = run(space, SizeTarget(), seconds=9)[-1]
    found = run(space, SizeTarget(lambda number: 3.0), seconds=20, known=known)[-1]
    assert found[: len(known)] == known
    assert len({network.architecture.id for network in found}) == len(found) > len(known)


def test_a_small_space_comes_to_its_end(run: Calibrate) -> None:
    target = SizeTarget()
    assert len(run(small, target, seconds=1000)[-1]) == 5
    assert target.visits.total() == 10
    assert run(small, SizeTarget(), seconds=1000, known=run(small, SizeTarget(), seconds=19)[-1]) == []


@pytest.mark.parametrize(("share", "least"), [(0.1, 0.98), (0.3, 0.93), (0.5, 0.75)])
def test_disturbed_visits_do_not_count(run: Calibrate, share: float, least: float) -> None:
    def factor(number: int) -> float:
        rng = Random(number)
        return rng.uniform(1.05, 3) if rng.random() < share else 1.0

    found = run(space, SizeTarget(factor), seconds=400)[-1]
    assert np.mean([is_true(network) for network in found]) > least
    assert len(found) > 90


def test_who_never_agrees_is_given_up(run: Calibrate) -> None:
    target = SizeTarget(lambda number: 1.05**number)
    run(space, target, seconds=100)
    assert max(target.visits.values()) == 6


def latency(p50_ms: float, slowdown: float = 1.0) -> Latency:
    return Latency(p50_ms=p50_ms, p95_ms=p50_ms, spread=0.0, runs=1, target="", slowdown=slowdown)


def test_the_second_fastest_visit_counts_by_what_was_read() -> None:
    visits = Visits()
    for found, counts_ms in ((latency(1.0, 1.25), 1.0), (latency(1.2), 1.0), (latency(1.04, 1.05), 1.2)):
        visits.add({1: found, 0: latency(found.p50_ms**2)})
        assert visits.exits_ms[1] == counts_ms
    assert visits.exits_ms[0] == pytest.approx(1.04**2)


def test_two_visits_that_agree_are_enough() -> None:
    visits = Visits()
    for p50_ms, settled in ((3.0, False), (2.0, False), (1.0, False), (2.5, False), (1.02, True)):
        visits.add({0: latency(p50_ms)})
        assert visits.are_settled is settled


def test_a_few_failures_are_passed_over(run: Calibrate) -> None:
    target = SizeTarget(failing=lambda number: number in (1, 2, 7))
    found = run(space, target, seconds=40)
    assert len(found) == 37
    assert all(map(is_true, found[-1]))


def test_many_failures_are_an_error(run: Calibrate) -> None:
    target = SizeTarget(failing=lambda number: number % 3 == 0)
    with pytest.raises(TargetError, match="lost"):
        run(space, target, seconds=1000)
    assert target.visits.total() == 12  # the fourth of them


def test_a_target_that_ran_nothing_in_time_is_an_error(run: Calibrate) -> None:
    for known in ((), run(space, SizeTarget(), seconds=9)[-1]):
        with pytest.raises(TargetError, match="lost"):
            run(space, SizeTarget(failing=lambda number: True), seconds=2, known=known)


@pytest.mark.parametrize(
    ("times_ms", "expected_ms"),
    [([1.0], 1.0), ([3.0, 2.0], 2.0), ([3.0, 2.5, 4.0], 2.5), ([4.0, 3.0, 2.0], 2.0)],
)
def test_what_is_too_slow_is_measured_again(times_ms: list[float], expected_ms: float) -> None:
    times = iter([*times_ms, 0.5])
    assert measure_within(lambda: latency(next(times)), 2.0, pause_s=0).p50_ms == expected_ms
    assert next(times) == 0.5


def test_a_corrected_time_may_keep_the_bound() -> None:
    times = iter([latency(1.1), latency(0.96, 1.2)])
    assert measure_within(lambda: next(times), 1.0, pause_s=0).p50_ms == 0.96


def test_the_pause_is_before_each_further_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("nas.latency.survey.sleep", pauses.append)
    measure_within(lambda: latency(2.0), 1.0, pause_s=7)
    assert pauses == [7, 7]
    measure_within(lambda: latency(1.0), 1.0)
    assert pauses == [7, 7]
