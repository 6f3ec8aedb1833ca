"""Images leave at the first exit that is sure enough, alone or in a batch, and the rest never runs."""

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from nas.bundle import Level
from nas.errors import BudgetError, BundleError
from nas.runtime import FusedModel, Runtime


@pytest.fixture
def runtime(exported):
    return Runtime.load(exported.folder)


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 9, 8), np.uint8)


def level_of(exit, thresholds=None, model="small"):
    return Level(model=model, exit=exit, accuracy=0.5, macs=1, thresholds=thresholds)


def expected_of(exported, level, images):
    """Logits and exits by the uncut networks, all of which run."""
    logits = []
    for exit in range(3):
        session = ort.InferenceSession(exported.uncut[level.model, exit], providers=["CPUExecutionProvider"])
        logits.append(session.run(["logits"], {"x": images})[0])
    powers = [np.exp(each - each.max(axis=1, keepdims=True)) for each in logits]
    sure = [(each / each.sum(axis=1, keepdims=True)).max(axis=1) for each in powers]
    exits = []
    for number in range(len(images)):
        asked = [k for k in range(level.exit) if level.thresholds[k] <= 1]
        leave = [k for k in asked if sure[k][number] >= level.thresholds[k]]
        exits.append(min([*leave, level.exit]))
    return np.stack([logits[exit][number] for number, exit in enumerate(exits)]), exits, sure


def spread(exported, model="small"):
    """Thresholds at which about half of the images leave."""
    *_, sure = expected_of(exported, level_of(2, (2, 2), model), images_of(64))
    return tuple(float(np.median(each)) for each in sure[:2])


@pytest.mark.parametrize("exit", [0, 1, 2])
@pytest.mark.parametrize("shape", ["all asked", "first unasked", "second unasked", "none asked"])
@pytest.mark.parametrize("model", ["small", "large"])
def test_a_batch_and_single_images_leave_where_they_are_sure(exported, runtime, exit, shape, model):
    low, high = spread(exported, model)
    thresholds = {
        "all asked": (low, high),
        "first unasked": (1.5, high),
        "second unasked": (low, 2.0),
        "none asked": (2.0, 2.0),
    }[shape]
    level, images = level_of(exit, thresholds, model), images_of(64, seed=1)
    logits, exits, _ = expected_of(exported, level, images)
    answer = runtime.run(images, level)
    assert answer.exits.tolist() == exits
    np.testing.assert_allclose(answer.logits, logits, rtol=1e-4, atol=1e-4)
    for number in range(0, 64, 7):
        alone = runtime.run(images[number], level)
        assert alone.exits.tolist() == [exits[number]]
        np.testing.assert_allclose(alone.logits[0], logits[number], rtol=1e-4, atol=1e-4)
    if shape == "all asked" and exit == 2:
        assert set(exits) == {0, 1, 2}


def test_the_rest_of_the_network_does_not_run_for_who_left(exported, runtime):
    low, high = spread(exported)
    level, images = level_of(2, (low, high)), images_of(16, seed=2)
    _, exits, _ = expected_of(exported, level, images)
    for number, exit in enumerate(exits):
        progress = runtime.start(images[number], level)
        parts = [f"small/{part}_{k}" for k in range(exit + 1) for part in ("trunk", "head")]
        assert progress.executed == tuple(parts)


def test_an_image_that_left_can_go_on(exported, runtime):
    images, level = images_of(1), level_of(2, (0.0, 0.0))
    progress = runtime.start(images, level)
    assert progress.answer.exits.tolist() == [0]
    np.testing.assert_array_equal(progress.resume().logits, runtime.run(images, 1).logits)
    assert progress.resume(level_of(2)).exits.tolist() == [2]
    assert progress.executed[2:] == ("small/trunk_1", "small/head_1", "small/trunk_2", "small/head_2")


def test_images_that_left_at_different_exits_cannot_go_on_together(runtime):
    with pytest.raises(BundleError, match="must go alone to be resumed, but got a batch of 2"):
        runtime.start(images_of(2), level_of(2, (0.5, 0.5)))


def test_a_level_of_the_bundle_may_have_thresholds(exported, runtime):
    levels = (replace(runtime.levels[0], thresholds=(0.5, 0.5)), *runtime.levels[1:])
    other = Runtime(replace(runtime.bundle, levels=levels))
    answer = other.run(images_of(5), 0)
    assert answer.exits.tolist() == [0] * 5
    other.prepare(0)
    assert other.loaded == ("small/trunk_0", "small/head_0")


@pytest.mark.parametrize(
    ("level", "sentence"),
    [
        (level_of(3), "must name one of the 3 exits of 'small'"),
        (level_of(2, (0.5,)), "must have a threshold for each of 2 exits but the last, but has 1"),
        (level_of(0, model="huge"), r"must be one of \['small', 'large'\], but got 'huge'"),
    ],
)
def test_a_level_that_does_not_fit_is_refused(runtime, level, sentence):
    with pytest.raises(BundleError, match=sentence):
        runtime.run(images_of(1), level)


def test_a_budget_chooses_the_most_accurate_level_that_keeps_it(runtime):
    images = images_of(1)
    assert runtime.run(images, budget="latency<=3.2ms").level == 2
    assert runtime.run(images, budget="macs<=4K, latency<=9ms").level == 3
    assert runtime.run(images, budget="flops<=4K").level == 1
    assert runtime.run(images, budget="macs<=1G").level == 5


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ("latency<=0.1ms", "the closest, level 0, is 900 % over it"),
        ("params<=1M", r"limits on macs, .* but got 'params<=1M'"),
        ("macs@0<=1M", r"without an exit, but got 'macs@0<=1M'"),
        ("energy<=1mJ", r"must have energy_mj to be chosen by it, but level 0 has none"),
    ],
)
def test_a_budget_that_chooses_no_level_is_refused(runtime, budget, sentence):
    with pytest.raises(BudgetError, match=sentence):
        runtime.run(images_of(1), budget=budget)


@pytest.mark.parametrize("asked", [{}, {"level": 0, "budget": "macs<=1M"}])
def test_either_a_level_or_a_budget_is_asked(runtime, asked):
    with pytest.raises(BundleError, match="either a level or a budget"):
        runtime.run(images_of(1), **asked)


def test_memory_is_that_of_what_was_needed(exported, runtime):
    assert runtime.memory_bytes == 0
    runtime.run(images_of(1), 0)
    files = [exported.folder / "models" / "small" / f"{name}.onnx" for name in ("trunk_0", "head_0")]
    features = 3 * 9 * 8 + 4 * (4 * 9 * 8 + 4 + 1)  # bytes of the image; feature, logits and confidence
    assert runtime.memory_bytes == sum(file.stat().st_size for file in files) + features
    before = runtime.memory_bytes
    for _ in range(5):
        runtime.run(images_of(1), 0)
    assert runtime.memory_bytes == before


def test_a_model_without_a_fused_file_has_none_to_load(runtime):
    with pytest.raises(BundleError, match="'small' must have a fused file, but has none"):
        FusedModel.load(runtime.bundle, "small")
