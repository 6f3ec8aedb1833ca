"""Images leave at the first exit that is sure enough, alone or in a batch, and the rest never runs."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import onnxruntime as ort
import pytest

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.bundle.readout import COMBINATIONS
from nas.errors import BudgetError, BundleError, DataError
from nas.export.entries import model_entry
from nas.model import Model
from nas.runtime import FusedModel, Runtime
from search_spaces.mixed import space


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


@pytest.mark.parametrize("model", ["small", "large"])
def test_a_cascade_answers_alike_whatever_was_asked_before(exported, runtime, model):
    low, high = spread(exported, model)
    for thresholds in ((low, high), (0.0, 0.0), (2.0, high)):
        cascade = level_of(2, thresholds, model)
        for image in images_of(8, seed=3):
            expected = runtime.run(image, cascade)
            for first in (
                cascade,
                level_of(0, None, model),
                level_of(1, None, model),
                level_of(2, None, model),
            ):
                progress = runtime.start(image, first)
                for _ in range(2):
                    again = progress.resume(cascade)
                    assert again.exits == expected.exits
                    np.testing.assert_array_equal(again.logits, expected.logits)


@pytest.mark.parametrize("count", [1, 4])
def test_a_file_that_is_absent_for_a_while_does_no_harm(exported, tmp_path, count):
    folder = tmp_path / "bundle"
    shutil.copytree(exported.folder, folder)
    runtime, images = Runtime.load(folder), images_of(count)
    expected = Runtime.load(exported.folder).run(images, level_of(2)).logits
    progress = runtime.start(images, level_of(0))
    file = folder / "models" / "small" / "trunk_1.onnx"
    content = file.read_bytes()
    file.unlink()
    for _ in range(2):
        with pytest.raises(BundleError, match=r"trunk_1\.onnx must be readable"):
            progress.resume(level_of(2))
    file.write_bytes(content)
    np.testing.assert_array_equal(progress.resume(level_of(2)).logits, expected)


def test_threads_do_not_mix_their_images(exported, runtime):
    images = images_of(40, seed=4)
    levels = [level_of(exit, None, model) for model in ("small", "large") for exit in range(3)]
    jobs = [(image, level) for image in images for level in levels]
    expected = [Runtime.load(exported.folder).run(image, level).logits for image, level in jobs]

    def work(job):
        image, level = job
        progress = runtime.start(image, replace(level, exit=0))
        return runtime.run(image, level).logits, progress.resume(level).logits

    with ThreadPoolExecutor(8) as pool:
        for answers, single in zip(pool.map(work, jobs), expected, strict=True):
            for answer in answers:
                np.testing.assert_array_equal(answer, single)


def test_a_fused_file_asks_for_what_the_runtime_asks(exported, tmp_path):
    model = Model(space.at((3, 12, 12), 4).graph(space.at((3, 12, 12), 4).sample(Random(0))))
    entry = model_entry("net", model, Readout())
    levels = (Level(model="net", exit=0, accuracy=0, macs=1),)
    shape, classes = (3, 12, 12), ("a", "b", "c", "d")
    bundle = Bundle(input_shape=shape, classes=classes, models=(entry.model,), levels=levels)
    fused = FusedModel.load(write_bundle(tmp_path / "b", bundle, entry.files), "net")
    for wrong in (np.zeros(shape), np.zeros((12, 12), np.uint8), np.zeros((2, *shape), np.uint8)):
        with pytest.raises(DataError, match="must"):
            fused.run(wrong, 0)
    with pytest.raises(BundleError, match="thresholds must be one for each"):
        fused.run(np.zeros(shape, np.uint8), 0, [0.5] * 9)


@pytest.mark.parametrize("level", ["1", 1.0, [0]])
def test_a_level_is_a_whole_number_or_a_level(runtime, level):
    with pytest.raises(BundleError, match="level must be a number from 0 to 5 or a Level, but got"):
        runtime.run(images_of(1), level)


def test_an_empty_budget_is_kept_by_the_best_level(runtime):
    assert runtime.run(images_of(1), budget="").level == 5


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("combine", COMBINATIONS)
def test_going_back_gives_what_a_fresh_image_gives(tmp_path, count, combine):
    rng, small = Random(0), space.at((3, 12, 12), 4)
    graph = next(g for g in (small.graph(small.sample(rng)) for _ in range(99)) if len(g.exits) == 4)
    entry = model_entry("net", Model(graph), Readout(combine=combine, confidence="patience"))
    levels = tuple(Level(model="net", exit=exit, accuracy=0, macs=exit) for exit in range(4))
    bundle = Bundle(input_shape=(3, 12, 12), classes=tuple("abcd"), models=(entry.model,), levels=levels)
    runtime = Runtime(write_bundle(tmp_path / "b", bundle, entry.files))
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 12, 12), np.uint8)
    for exit in range(3):
        fresh, progress = runtime.run(images, exit), runtime.start(images, 3)
        again = progress.resume(exit)
        np.testing.assert_array_equal(again.confidence, fresh.confidence)
        np.testing.assert_array_equal(again.logits, fresh.logits)
