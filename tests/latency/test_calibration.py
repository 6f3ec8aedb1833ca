"""A calibration predicts what was measured, sees drift, and its file holds all."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, final

import numpy as np
import pytest

import search_spaces.tiny
from nas import Net, SearchSpace, Shape
from nas.errors import TargetError
from nas.latency import Calibration, Measured, Target, Timing, measure_exits
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


space = SearchSpace(build, "tests:space")


@final
class SizeTarget(Target):
    """A nanosecond for each byte of a file; some measurements, by number, come out twice as long."""

    def __init__(
        self, *, factor: float = 1.0, disturbed: Callable[[int], bool] = lambda number: False
    ) -> None:
        self.measured = 0
        self._factor, self._disturbed = factor, disturbed

    @property
    def identity(self) -> str:
        return "by size"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        self.measured += 1
        factor = self._factor * (2 if self._disturbed(self.measured) else 1)
        times_s = factor * 1e-9 * np.array([[len(model) for model in models]])
        return Timing((times_s,) * 4, (), 0.0, self.identity)


@pytest.fixture
def calibration() -> Calibration:
    rng, measured = Random(0), list[Measured]()
    for architecture in dict.fromkeys(space.sample(rng) for _ in range(40)):
        exits = measure_exits(SizeTarget(), space.graph(architecture))
        chosen = {len(exits) - 1, rng.randrange(len(exits))}
        measured.append(Measured(architecture, {exit: exits[exit].p50_ms for exit in chosen}))
    return Calibration.of(space, "by size", measured)


def test_what_was_measured_is_predicted(calibration: Calibration) -> None:
    assert calibration.target == "by size"
    for network in calibration.measured:
        ms = calibration.predictor(space.graph(network.architecture))
        assert ms == pytest.approx(network.last_ms, rel=0.1)


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
    others = (search_spaces.tiny.space, space.at((3, 8, 8), 10), space.at((1, 8, 8), 2))
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
    "version": change(version=1),
    "shape": change(input_shape=3),
    "no predictor": lambda record: record.pop("predictor"),
    "predictor": change(predictor=[]),
    "lanes": lambda record: record["predictor"].update(lanes=0),
    "factors": lambda record: record["predictor"].update(factors_ms=[]),
    "huge factor": lambda record: record["predictor"]["factors_ms"].update(call=10**400),
    "networks": change(networks={"a": 1}),
    "choices": lambda record: record["networks"][0].update(choices=[]),
    "no id": lambda record: record["networks"][0].pop("id"),
    "no times": lambda record: record["networks"][0].update(exits_ms={}),
    "times of no exit": lambda record: record["networks"][0].update(exits_ms=[1.0]),
    "exit unknown": lambda record: record["networks"][0].update(exits_ms={"last": 1.0}),
    "exit below 0": lambda record: record["networks"][0].update(exits_ms={"-1": 1.0}),
    "time 0": lambda record: record["networks"][0].update(exits_ms={"0": 0.0}),
    "time unknown": lambda record: record["networks"][0].update(exits_ms={"0": math.nan}),
    "time huge": lambda record: record["networks"][0].update(exits_ms={"0": 10**400}),
    "time null": lambda record: record["networks"][0].update(exits_ms={"0": None}),
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
        TargetError, match=r"must be a calibration, version 3, but is not: .*; calibrate again"
    ) as told:
        Calibration.load(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
