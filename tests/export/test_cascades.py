"""Levels with thresholds in a bundle: what they claim is what the runtime does and verifying measures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch

from nas.budget import Budget
from nas.bundle import Bundle, Level, Readout
from nas.cascade import CascadeCost
from nas.data import Data, load_data
from nas.errors import BudgetError, BundleError, DataError
from nas.export import ExportConfig, export
from nas.latency import DeclaredEnergy, Target, Timing
from nas.latency.target import Inputs
from nas.latency.verification import verify_levels
from nas.latency.ways import Way, WayTimes, ways_of
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.runtime import Runtime
from nas.space import SearchSpace
from nas.train import TrainConfig, fit

torch.set_num_threads(1)

FILE_MS = 0.25


def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = net.input(input_shape)
    for stage in range(3):
        x = conv_norm_act(x, 8 << stage, kernel_size=3, name=f"stage{stage}")
        net.exit(head, x, num_classes)


space = SearchSpace(build)


@final
class CountingTarget(Target):
    """A target on which each file takes a quarter of a millisecond."""

    identity = "a quarter each"

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        rounds = tuple(np.full((5, len(models)), 1e-3 * FILE_MS) for _ in range(4))
        return Timing(rounds, (), 0.0, self.identity)


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


@pytest.fixture(scope="module")
def model(data: Data) -> Model:
    model = Model(space.graph(space.architecture({})))
    fit(model, data, TrainConfig(epochs=3))
    return model


def exported(model: Model, data: Data, folder: Path, target: Target | None, **config: Any) -> Bundle:
    energy = DeclaredEnergy.parse("0.5mJ + 2W") if target else None
    readouts = {"net": Readout(**config)}
    settings = ExportConfig(cascades=4, readouts=readouts)
    budget = Budget.parse("latency<=1.3ms")
    return export(
        {"net": model}, folder, data=data, target=target, budget=budget, energy=energy, config=settings
    )


def cascades_of(bundle: Bundle) -> list[Level]:
    return [level for level in bundle.levels if level.thresholds is not None]


@pytest.mark.parametrize(
    "config", [{}, {"combine": "sum"}, {"confidence": "patience"}, {"confidence": "entropy"}], ids=str
)
def test_levels_do_what_they_claim(model: Model, data: Data, tmp_path: Path, config: dict[str, str]) -> None:
    """Macs, milliseconds and shares, counted over a run of the validation images one by one."""
    bundle = exported(model, data, tmp_path / "bundle", CountingTarget(), **config)
    runtime, costs = Runtime(bundle), CascadeCost.of_graph(model.graph)
    found = [Level.from_json(each) for each in bundle.provenance["cascades"]]
    assert found and {level for level in bundle.levels if level.thresholds} <= set(found)
    for level in found:
        assert level.thresholds is not None and level.shares is not None
        exits, segments = [], 0
        for image in data.x_val:
            progress = runtime.start(image, level)
            exits.append(int(progress.answer.exits[0]))
            segments += len(progress.executed)
        answers = runtime.run(data.x_val, level)
        assert answers.exits.tolist() == exits
        assert (answers.logits.argmax(1) == data.y_val).mean() == pytest.approx(level.accuracy)
        shares = np.bincount(exits, minlength=3) / len(exits)
        np.testing.assert_allclose(shares, level.shares, atol=1e-9)
        needs_all = "combine" in config
        asked = [limit <= 1 or needs_all for limit in level.thresholds]
        assert level.macs == pytest.approx(costs.leaving(asked)[exits].mean(), abs=1)
        assert level.measured.p50_ms == pytest.approx(FILE_MS * segments / len(exits))
        assert level.energy_mj == pytest.approx(0.5 + 2 * level.measured.p50_ms)
    for level, each in zip(found, bundle.provenance["cascades"], strict=True):
        answers = runtime.run(data.x_test, level)
        assert (answers.labels == data.y_test).mean() == pytest.approx(each["test_accuracy"])
    assert Bundle.load(tmp_path / "bundle") == bundle


def test_without_a_target_thresholds_are_solved_in_macs(model: Model, data: Data, tmp_path: Path) -> None:
    bundle = exported(model, data, tmp_path / "bundle", None)
    macs = [level.macs for level in bundle.levels]
    assert macs == sorted(macs)
    assert cascades_of(bundle) and all(level.latency is None for level in bundle.levels)


def test_a_budget_holds_for_the_longest_way(model: Model, data: Data, tmp_path: Path) -> None:
    """Five files of a quarter millisecond are within 1.3 ms, six are not, though fewer run on average."""
    bundle = exported(model, data, tmp_path / "bundle", CountingTarget())
    kept = {}
    for level in [Level.from_json(each) for each in bundle.provenance["cascades"]]:
        files = list(ways_of(level))[-1]
        longest_ms = FILE_MS * (level.exit + 2 + len(files.asked))
        if level.exit == 2:
            assert level.keeps_budget is (longest_ms <= 1.3)
            kept[level.keeps_budget] = level.measured.p50_ms
    assert kept[False] <= 1.3, "on average it would be within the budget"
    verified = verify_levels(bundle, CountingTarget(), pause_s=0)
    for each in verified:
        assert each.measured.p50_ms == pytest.approx(each.certified.measured.p50_ms)
        assert each.ratio == pytest.approx(1)
        assert each.longest.p50_ms >= each.measured.p50_ms


def test_ways_of_a_level() -> None:
    level = Level(
        model="m", exit=2, accuracy=0.5, macs=1, thresholds=(0.5, 2.0, 0.9), shares=(0.25, 0.0, 0.75, 0.0)
    )
    assert ways_of(level) == {Way("m", 0): 0.25, Way("m", 2, (0,)): 0.75}
    assert ways_of(Level(model="m", exit=1, accuracy=0.5, macs=1)) == {Way("m", 1): 1.0}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.5, 0.5), "have a share for each of 3 exits, which add up to 1"),
        ((0.5, 0.4, 0.0), "which add up to 1"),
        ((0.5, 0.2, 0.3), "and 0 behind its own exit"),
        ((1.5, -0.5, 0.0), "which add up to 1"),
        ((float("nan"), 0.5, 0.0), "which add up to 1"),
        ((0.5, 0.5, 0.0), "be 0 for an exit that is not asked"),
    ],
)
def test_shares_that_cannot_be(
    model: Model, data: Data, tmp_path: Path, shares: tuple[float, ...], message: str
) -> None:
    bundle = exported(model, data, tmp_path / "bundle", None)
    level = Level(model="net", exit=1, accuracy=0.5, macs=1, thresholds=(2.0, 0.5), shares=shares)
    with pytest.raises(BundleError, match=message):
        Runtime(bundle).run(data.x_val[0], level)
    alone = Level(model="net", exit=1, accuracy=0.5, macs=1, shares=(0.5, 0.5, 0.0))
    with pytest.raises(BundleError, match="have shares with thresholds only"):
        Runtime(bundle).run(data.x_val[0], alone)


def test_a_network_that_is_never_wrong_can_be_shipped(data: Data, tmp_path: Path) -> None:
    """Its accuracy is 1, whatever rounding made of the sum over 30 images."""
    flat = np.repeat(np.arange(10, dtype=np.uint8), 3)
    images = np.repeat(25 * flat, 64).reshape(30, 1, 8, 8).astype(np.uint8)
    easy = replace(data, x_val=images, y_val=flat.astype(np.int64))
    learned = Model(space.graph(space.architecture({})))
    fit(learned, replace(easy, x_train=images, y_train=easy.y_val), TrainConfig(epochs=60, batch_size=30))
    bundle = exported(learned, easy, tmp_path / "bundle", None)
    assert Bundle.load(tmp_path / "bundle") == bundle
    assert max(level.accuracy for level in bundle.levels) <= 1


def test_thresholds_need_early_exits(data: Data, tmp_path: Path) -> None:
    def plain(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
        net.exit(head, conv_norm_act(net.input(input_shape), 8), num_classes)

    single = SearchSpace(plain, "tests:plain")
    model = Model(single.graph(single.architecture({})))
    with pytest.raises(BundleError, match="must have at least 2 exits to have thresholds, but those of"):
        exported(model, data, tmp_path / "bundle", None)


def test_a_device_that_sees_other_classes(model: Model, data: Data, tmp_path: Path) -> None:
    """Every level of the dial, with thresholds or not, tells accuracy as the device will see it."""
    shares = (1.0, *([0.02] * 9))
    settings = ExportConfig(cascades=3, class_shares=shares)
    bundle = export({"net": model}, tmp_path / "bundle", data=data, config=settings)
    assert bundle.provenance["class_shares"] == list(shares)
    runtime = Runtime(bundle)
    for part, key in (("val", "accuracy"), ("test", "test_accuracy")):
        images, labels = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        each = np.array(shares) / sum(shares) / np.bincount(labels)
        for record in (*bundle.provenance["exits"], *bundle.provenance["cascades"]):
            right = runtime.run(images, Level.from_json(record)).labels == labels
            assert record[key] == pytest.approx(each[labels] @ right)
    with pytest.raises(DataError, match="class_shares must be a number of at least 0 for each of 10"):
        export({"net": model}, tmp_path / "b", data=data, config=ExportConfig(class_shares=(1.0, 2.0)))
    with pytest.raises(BundleError, match="cascades must be at least 0, but got -2"):
        export({"net": model}, tmp_path / "b", data=data, config=ExportConfig(cascades=-2))


def test_a_way_with_all_heads_is_measured_once(model: Model, data: Data, tmp_path: Path) -> None:
    bundle = exported(model, data, tmp_path / "bundle", None, combine="sum")
    times = WayTimes(CountingTarget(), bundle, "net")
    assert times.latency(Way("net", 2, (0, 1))) is times.latency(Way("net", 2))
    assert times.costs().heads == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "bound"), [("latency<=0.8ms", 0.8), ("energy<=2.2mJ", 2.2), ("macs<=30K", 30_000)]
)
def test_mean_budgets_of_ones_own(model: Model, data: Data, tmp_path: Path, text: str, bound: float) -> None:
    """In milliseconds, declared millijoules or MACs: kept, and made use of."""
    energy, config = DeclaredEnergy.parse("0.5mJ + 2W"), ExportConfig(cascade_budgets=(text,))
    place = tmp_path / "bundle"
    bundle = export({"net": model}, place, data=data, target=CountingTarget(), energy=energy, config=config)
    (level,) = (Level.from_json(each) for each in bundle.provenance["cascades"])
    spent = {"l": level.measured.p50_ms, "e": level.energy_mj, "m": level.macs}[text[0]]
    assert spent is not None and 0.75 * bound < spent <= bound


@pytest.mark.parametrize("text", ["latency<=1ms", "macs@1<=30K", "energy<=1mJ", "macs<=30K, params<=3"])
def test_mean_budgets_that_cannot_be(model: Model, data: Data, tmp_path: Path, text: str) -> None:
    with pytest.raises(BudgetError, match="must limit one of macs, and at no exit, but got"):
        export({"net": model}, tmp_path / "b", data=data, config=ExportConfig(cascade_budgets=(text,)))
    assert not (tmp_path / "b").exists()


def test_budgets_that_come_to_no_thresholds_are_told(model: Model, data: Data, tmp_path: Path) -> None:
    """The least is what all leave at, and another network may keep what one does not."""
    config = ExportConfig(cascade_budgets=("macs<=1K", "macs<=4688"))
    with pytest.warns(UserWarning) as found:
        bundle = export({"net": model}, tmp_path / "b", data=data, config=config)
    told = " ".join(str(warning.message) for warning in found)
    assert "net has no level for macs<=1K: a mean macs must be at least that of the first exit, 4688" in told
    assert "net needs no thresholds for macs<=4688: exit 0 alone is as good" in told
    assert not cascades_of(bundle)


@pytest.mark.parametrize("count", [138, 141, 143])
def test_shares_that_add_up_to_more_by_rounding(model: Model, data: Data, tmp_path: Path, count: int) -> None:
    fewer = replace(data, x_val=data.x_val[:count], y_val=data.y_val[:count])
    config = ExportConfig(cascade_budgets=("macs<=79K",), readouts={"net": Readout(confidence="patience")})
    bundle = export({"net": model}, tmp_path / "b", data=fewer, config=config)
    assert Bundle.load(tmp_path / "b") == bundle
