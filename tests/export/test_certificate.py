"""What a bundle certifies is what its target measured, and what verifying it measures again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import onnxruntime
import pytest
import torch

from nas.budget import Budget, Limit
from nas.bundle import Bundle, Readout
from nas.bundle.readout import COMBINATIONS
from nas.data import Data, load_data
from nas.errors import BundleError
from nas.export import ExportConfig, export
from nas.latency import LocalTarget, Target, Timing, measure_exits
from nas.latency.target import Inputs
from nas.latency.verification import latency_limit, verify_levels
from nas.model import Model
from nas.runtime import Runtime
from search_spaces.tiny import space

torch.set_num_threads(1)

UNSURE = 1.03


@final
class SizeTarget(Target):
    """A nanosecond or more per byte of a file; the parts of its rounds differ by a factor of 1.03."""

    def __init__(self, nanoseconds: float = 1.0, identity: str = "by size") -> None:
        self._byte_s = 1e-9 * nanoseconds
        self._identity = identity

    @property
    def identity(self) -> str:
        return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        times_s = self._byte_s * np.array([[len(model) for model in models]])
        rounds = tuple(factor * times_s for factor in (1.0, 1.01, 1.02, UNSURE))
        return Timing(rounds, (), 0.0, self.identity)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


@pytest.fixture(scope="module")
def model(data: Data) -> Model:
    digits, rng = space.at(data.input_shape, data.num_classes), Random(0)
    graphs = (digits.graph(digits.sample(rng)) for _ in range(100))
    return Model(next(graph for graph in graphs if len(graph.exits) > 1))


@pytest.fixture(scope="module")
def certified(model: Model, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    budget = Budget.parse("latency<=1s, latency@0<=1us, macs<=9G")
    folder = tmp_path_factory.mktemp("bundles") / "certified"
    return export({"m": model}, folder, data=data, target=SizeTarget(), budget=budget)


@pytest.mark.parametrize(
    ("budget", "exit", "exits", "expected"),
    [
        ("", 0, 1, None),
        ("macs<=1, latency@1<=3ms", 0, 2, None),
        ("macs@0<=1, latency@0<=3ms", 0, 2, Limit("latency", 0, 3.0)),
        ("latency<=3ms", 0, 2, None),
        ("latency<=3ms", 1, 2, Limit("latency", None, 3.0)),
        ("latency<=3ms, latency@1<=2ms", 1, 2, Limit("latency", 1, 2.0)),
        ("latency<=2ms, latency@1<=3ms", 1, 2, Limit("latency", None, 2.0)),
        ("latency<=3ms, latency@5<=1ms", 0, 1, Limit("latency", None, 3.0)),
    ],
)
def test_the_tightest_limit_of_an_exit(budget: str, exit: int, exits: int, expected: Limit | None) -> None:
    assert latency_limit(Budget.parse(budget), exit, exits) == expected


def test_the_certificate_says_how_it_was_measured(certified: Bundle) -> None:
    certificate = certified.certificate
    assert certificate
    assert Budget.parse(certificate.budget) == Budget.parse("latency<=1s, latency@0<=1us, macs<=9G")
    assert timedelta(0) <= datetime.now(UTC) - certificate.measured < timedelta(minutes=10)
    assert certificate.versions["onnxruntime"] == onnxruntime.__version__
    assert certificate.conditions.keys() == {"host_load", "host_cores", "seconds_per_exit"}
    assert (certificate.conditions["host_cores"] or 1) >= 1
    assert Bundle.load(certified.path or "").to_json() == certified.to_json()


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_heads_that_remember_are_measured_run_and_verified(
    model: Model, data: Data, tmp_path: Path, combine: str
) -> None:
    readout = Readout(combine=combine, confidence="patience")
    config = ExportConfig(readouts={"m": readout}, int8=True)
    bundle = export({"m": model}, tmp_path / "b", data=data, target=LocalTarget(), config=config)
    last = max(bundle.levels, key=lambda level: (level.model == "m", level.exit))
    asked = replace(last, thresholds=(0.5,) * last.exit)
    levels = tuple(sorted([asked, last], key=lambda level: level.latency.p50_ms if level.latency else 0))
    for found in verify_levels(replace(bundle, levels=levels), LocalTarget(), seconds=0.05, pause_s=0):
        assert found.measured.p50_ms > 0
    runtime = Runtime(replace(bundle, levels=levels))
    assert (runtime.run(data.x_test[:50], asked).exits <= last.exit).all()
    assert {found["model"] for found in bundle.provenance["int8"]} == {"m"}


def test_what_was_not_measured_has_no_certificate(model: Model, data: Data, tmp_path: Path) -> None:
    budget = Budget.parse("latency<=1s")
    bundle = export({"m": model}, tmp_path / "b", data=data, budget=budget)
    assert bundle.certificate is None
    assert {level.keeps_budget for level in bundle.levels} == {None}
    with pytest.raises(BundleError, match="must have a certificate to be verified"):
        verify_levels(bundle, SizeTarget())


def test_levels_have_the_latency_of_the_networks_they_run(certified: Bundle, model: Model) -> None:
    times = measure_exits(SizeTarget(), model.graph, model.weights())
    assert [level.latency for level in certified.levels] == [times[level.exit] for level in certified.levels]
    kept = {
        found["exit"]: (found["keeps_budget"], found["latency_ms"]) for found in certified.provenance["exits"]
    }
    last = len(times) - 1
    assert kept == {
        exit: ({0: False, last: True}.get(exit), time.to_json()) for exit, time in enumerate(times)
    }


def test_the_upper_bound_decides_the_certificate_and_the_median_verification(
    model: Model, data: Data, tmp_path: Path
) -> None:
    last = len(model.graph.exits) - 1
    p50_ms = measure_exits(SizeTarget(), model.graph, model.weights())[last].p50_ms
    for share, kept in ((1.001 * UNSURE**2, True), (0.999 * UNSURE**2, False)):
        budget = Budget((Limit("latency", None, share * p50_ms),))
        bundle = export({"m": model}, tmp_path / "b", data=data, target=SizeTarget(), budget=budget)
        exits = {found["exit"]: found["keeps_budget"] for found in bundle.provenance["exits"]}
        assert last in {level.exit for level in bundle.levels}
        assert exits == {exit: kept if exit == last else None for exit in range(last + 1)}
        for slower, verified in ((1.0, True), (1.02, True), (1.08, False)):
            for level in verify_levels(bundle, SizeTarget(slower), pause_s=0):
                assert level.kept is (verified if level.certified.exit == last else None)


def test_verifying_measures_every_level_again(certified: Bundle) -> None:
    steps = list[str]()
    verified = verify_levels(certified, SizeTarget(1.5, "other"), pause_s=0, progress=steps.append)
    assert steps == [f"measuring m, exit {exit}" for exit in range(len(verified))]
    assert [level.number for level in verified] == list(range(len(certified.levels)))
    assert tuple(level.certified for level in verified) == certified.levels
    assert [level.ratio for level in verified] == pytest.approx([1.5] * len(verified))
    assert {level.measured.target for level in verified} == {"other"}


def test_a_damaged_budget_is_found(certified: Bundle) -> None:
    assert certified.certificate
    damaged = replace(certified, certificate=replace(certified.certificate, budget="soon"))
    with pytest.raises(BundleError, match=r"certificate\.budget is damaged: .* but got 'soon'"):
        verify_levels(damaged, SizeTarget())
