"""Calibrating measures different networks as long as it may, and a file holds what was found."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest

from nas import Net, SearchSpace, Shape
from nas.errors import TargetError
from nas.latency import Calibration, Measured, Target, Timing, calibrate, measure_exits
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
    """A nanosecond for each byte of a file; some measurements, by number, fail or come out twice as long.

    Its clock goes on by a second with each.
    """

    def __init__(
        self,
        *,
        factor: float = 1.0,
        rounds: int = 4,
        failing: Callable[[int], bool] = lambda number: False,
        disturbed: Callable[[int], bool] = lambda number: False,
    ) -> None:
        self.measured = 0
        self._factor, self._rounds = factor, rounds
        self._failing, self._disturbed = failing, disturbed

    @property
    def identity(self) -> str:
        return "by size"

    def clock_s(self) -> float:
        return float(self.measured)

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        self.measured += 1
        if self._failing(self.measured):
            raise TargetError("lost")
        times_s = self._factor * 1e-9 * np.array([[len(model) for model in models]])
        slow = self._disturbed(self.measured)
        factors = [2 + 0.1 * number if slow else 1 for number in range(self._rounds)]
        rounds = tuple(factor * times_s for factor in factors)
        return Timing(rounds, (), 0.0, self.identity)


Calibrate = Callable[..., list[tuple[Measured, ...]]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Calibrate:
    """Calibrate on the target's own clock: what was measured after each network."""

    def run(space: SearchSpace, target: SizeTarget, **options: Any) -> list[tuple[Measured, ...]]:
        monkeypatch.setattr("nas.latency.calibration.monotonic", target.clock_s)
        return list(calibrate(space, target, **options))

    return run


def true_ms(network: Measured) -> tuple[float, ...]:
    graph = space.graph(network.architecture)
    return tuple(latency.p50_ms for latency in measure_exits(SizeTarget(), graph))


@pytest.fixture
def calibration(run: Calibrate) -> Calibration:
    return Calibration.of(space, "by size", run(space, SizeTarget(), seconds=40)[-1])


def test_each_network_is_another_one(run: Calibrate) -> None:
    found = run(space, SizeTarget(), seconds=30)
    assert [len(networks) for networks in found] == list(range(1, 31))
    assert len({network.architecture.id for network in found[-1]}) == 30
    for network in found[-1]:
        assert network.exits_ms == pytest.approx(true_ms(network))


def test_the_seed_decides(run: Calibrate) -> None:
    first, again, other = (run(space, SizeTarget(), seconds=9, seed=seed)[-1] for seed in (0, 0, 1))
    assert first == again != other


def test_known_networks_are_kept_and_not_measured_again(run: Calibrate) -> None:
    known = run(space, SizeTarget(), seconds=9)[-1]
    found = run(space, SizeTarget(factor=3), seconds=20, known=known)[-1]
    assert found[:9] == known
    assert len({network.architecture.id for network in found}) == 29


def test_a_small_space_comes_to_its_end(run: Calibrate) -> None:
    target = SizeTarget()
    assert len(run(small, target, seconds=1000)[-1]) == target.measured == 5
    assert run(small, SizeTarget(), seconds=1000, known=run(small, SizeTarget(), seconds=9)[-1]) == []


def test_disturbed_networks_are_measured_again(run: Calibrate) -> None:
    target = SizeTarget(disturbed=lambda number: number % 10 == 3 and number <= 70)
    found = run(space, target, seconds=100)
    assert target.measured == 100
    assert len(found[-1]) == 93
    assert all(network.exits_ms == pytest.approx(true_ms(network)) for network in found[-1])
    slow = [network for network in found[69] if network.exits_ms[-1] > 1.5 * true_ms(network)[-1]]
    assert len(slow) == 7


def test_the_less_disturbed_measurement_counts(run: Calibrate) -> None:
    found = run(space, SizeTarget(disturbed=lambda number: number > 5), seconds=20)
    ids = [network.architecture.id for network in found[-1]]
    assert len(ids) == len(set(ids)) == 15  # the other five were of the same, and no better
    for network in found[-1][:5]:
        assert network.exits_ms == pytest.approx(true_ms(network))


def test_a_target_that_tells_no_interval(run: Calibrate) -> None:
    found = run(space, SizeTarget(rounds=1), seconds=20)[-1]
    assert len(found) == 15
    assert all(network.exits_ms == pytest.approx(true_ms(network)) for network in found)


def test_a_few_failures_are_passed_over(run: Calibrate) -> None:
    target = SizeTarget(failing=lambda number: number in (1, 2, 7))
    assert len(run(space, target, seconds=20)[-1]) == 17


def test_many_failures_are_an_error(run: Calibrate) -> None:
    target = SizeTarget(failing=lambda number: number % 3 == 0)
    with pytest.raises(TargetError, match="lost"):
        run(space, target, seconds=1000)
    assert target.measured == 12  # the fourth of them


def test_a_target_that_ran_nothing_in_time_is_an_error(run: Calibrate) -> None:
    with pytest.raises(TargetError, match="lost"):
        run(space, SizeTarget(failing=lambda number: True), seconds=2)


def test_what_was_measured_is_predicted(calibration: Calibration) -> None:
    assert calibration.target == "by size"
    for network in calibration.measured:
        ms = calibration.predictor(space.graph(network.architecture))
        assert ms == pytest.approx(network.exits_ms[-1], rel=0.1)


@pytest.mark.parametrize("factor", [1.0, 1.1, 0.5])
def test_drift_is_the_ratio_of_times(calibration: Calibration, factor: float) -> None:
    target = SizeTarget(factor=factor)
    assert calibration.drift(target, space) == pytest.approx(factor)
    assert target.measured == 5


def test_one_disturbance_is_no_drift(calibration: Calibration) -> None:
    target = SizeTarget(factor=1.1, disturbed=lambda number: number in (2, 3))
    assert calibration.drift(target, space) == pytest.approx(1.1)


def test_a_file_holds_all(calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path / "c.json")
    read = Calibration.load(str(tmp_path / "c.json"))
    assert read == calibration
    read.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "c.json").read_text()
    graph = space.graph(calibration.measured[0].architecture)
    assert read.predictor(graph) == calibration.predictor(graph)


def test_it_is_of_one_space_and_target(calibration: Calibration) -> None:
    calibration.check(space)
    calibration.check(space, "by size")
    others = (small, space.at((3, 8, 8), 10), space.at((1, 8, 8), 2))
    for other in others:
        with pytest.raises(TargetError, match="; calibrate again"):
            calibration.check(other)
    with pytest.raises(TargetError, match=r"must be of .*'board'.* but is of .*'by size'"):
        calibration.check(space, "board")


def test_too_few_networks(calibration: Calibration) -> None:
    with pytest.raises(TargetError, match="at least 3 networks, but got 2"):
        Calibration.of(space, "by size", calibration.measured[:2])


def change(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.update(values)


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": change(format="nas-dial-table"),
    "version": change(version=2),
    "shape": change(input_shape=3),
    "no predictor": lambda record: record.pop("predictor"),
    "predictor": change(predictor=[]),
    "lanes": lambda record: record["predictor"].update(lanes=0),
    "factors": lambda record: record["predictor"].update(factors_ms=[]),
    "huge factor": lambda record: record["predictor"]["factors_ms"].update(call=10**400),
    "networks": change(networks={"a": 1}),
    "choices": lambda record: record["networks"][0].update(choices=[]),
    "no id": lambda record: record["networks"][0].pop("id"),
    "no times": lambda record: record["networks"][0].update(exits_ms=[]),
    "time 0": lambda record: record["networks"][0].update(exits_ms=[0.0]),
    "time unknown": lambda record: record["networks"][0].update(exits_ms=[math.nan]),
    "time huge": lambda record: record["networks"][0].update(exits_ms=[10**400]),
    "time null": lambda record: record["networks"][0].update(exits_ms=[None]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_values(calibration: Calibration, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.json"
    calibration.save(path)
    record = json.loads(path.read_text())
    DAMAGES[damage](record)
    path.write_text(json.dumps(record))
    check_refused(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b'{"format": 1', b"[" * 100_000])
def test_what_is_no_calibration(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    check_refused(path)


def test_places_without_a_calibration(calibration: Calibration, tmp_path: Path) -> None:
    check_refused(tmp_path / "none.json")
    check_refused(tmp_path)
    with pytest.raises(TargetError, match="must be writable"):
        calibration.save(tmp_path / "no folder" / "c.json")


def check_refused(path: Path) -> None:
    with pytest.raises(
        TargetError, match=r"must be a calibration, version 1, but is not: .*; calibrate again"
    ) as told:
        Calibration.load(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
