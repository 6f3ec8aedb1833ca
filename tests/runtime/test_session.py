"""The cut networks must say what onnxruntime says about the uncut ones, and run no more than they must."""

import gc
import hashlib
import json
import shutil
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from scipy.special import softmax

from nas.errors import BundleError, DataError
from nas.runtime import Runtime

LEVELS = range(6)


@pytest.fixture
def runtime(exported):
    return Runtime.load(exported.folder)


@pytest.fixture
def changed(exported, tmp_path):
    """A copy of the bundle whose bundle.json and files a test may change consistently."""
    folder = tmp_path / "changed"
    shutil.copytree(exported.folder, folder)

    def change(edit, files=None):
        record = json.loads((folder / "bundle.json").read_text())
        edit(record)
        for name, data in (files or {}).items():
            (folder / name).write_bytes(data)
            for model in record["models"].values():
                for segment in model["segments"]:
                    if segment["file"] == name:
                        segment["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "bundle.json").write_text(json.dumps(record))
        return folder

    return change


def _images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 9, 8), np.uint8)


def _reference(exported, level, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    file = exported.uncut[level.model, level.exit]
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"x": images})[0]


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_equals_the_uncut_network(exported, runtime, level, count):
    images = _images(count)
    answer = runtime.run(images, level)
    expected = _reference(exported, runtime.levels[level], images)
    np.testing.assert_allclose(answer.logits, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer.probabilities, softmax(expected, axis=1), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(answer.confidence, answer.probabilities.max(axis=1), rtol=1e-5)
    assert answer.exits.tolist() == [runtime.levels[level].exit] * count
    assert answer.level == level
    assert answer.labels.tolist() == expected.argmax(axis=1).tolist()
    assert answer.classes == tuple(runtime.bundle.classes[label] for label in answer.labels)


def test_two_threads_per_call_change_nothing(exported, runtime):
    other = Runtime.load(exported.folder, threads=2)
    for level in LEVELS:
        expected = runtime.run(_images(2), level).logits
        np.testing.assert_allclose(other.run(_images(2), level).logits, expected, rtol=1e-4, atol=1e-4)


def test_an_image_is_a_batch_of_one_in_any_memory_order(runtime):
    images = _images(1)
    expected = runtime.run(images, 3).logits
    np.testing.assert_array_equal(runtime.run(images[0], 3).logits, expected)
    np.testing.assert_array_equal(runtime.run(np.asfortranarray(images), np.int64(3)).logits, expected)


def test_a_level_loads_only_what_it_runs(runtime):
    assert runtime.loaded == ()
    runtime.run(_images(1), 0)
    assert runtime.loaded == ("small/trunk_0", "small/head_0")
    runtime.prepare(4)
    assert runtime.loaded[2:] == ("large/trunk_0", "large/trunk_1", "large/head_1")


def test_what_a_level_skips_is_not_needed_at_all(changed):
    folder = changed(lambda record: None)
    runtime = Runtime.load(folder)
    for name in ("trunk_1", "head_1", "trunk_2"):
        (folder / "models" / "small" / f"{name}.onnx").unlink()
    assert runtime.run(_images(1), 0).logits.shape == (1, 4)
    with pytest.raises(BundleError, match=r"small/trunk_1\.onnx must be readable"):
        runtime.run(_images(1), 1)


@pytest.mark.parametrize("count", [1, 5])
def test_resuming_equals_running_and_runs_nothing_twice(runtime, count):
    images = _images(count)
    progress = runtime.start(images)
    while progress.next_level is not None:
        answer = progress.resume()
        np.testing.assert_array_equal(answer.logits, runtime.run(images, answer.level).logits)
    parts = [f"small/{part}_{k}" for k in range(3) for part in ("trunk", "head")]
    assert progress.executed == tuple(parts)
    assert progress.best_so_far().level == 3
    with pytest.raises(BundleError, match="must have a further exit"):
        progress.resume()


def test_resuming_may_jump_go_back_and_change_the_model(runtime):
    images = _images(2)
    progress = runtime.start(images, level=2)
    for level in (5, 4, 1, 2):
        np.testing.assert_array_equal(progress.resume(level).logits, runtime.run(images, level).logits)
    large, small = (
        ("large", "trunk_0 head_0 trunk_1 trunk_2 head_2 head_1"),
        ("small", "trunk_0 trunk_1 head_1"),
    )
    expected = [f"{name}/{part}" for name, parts in (large, small) for part in parts.split()]
    assert progress.executed == tuple(expected)
    assert progress.answer.level == 2
    assert progress.best_so_far().level == 5


def test_a_progress_keeps_its_own_image(runtime):
    images = _images(2)
    expected = runtime.run(images, 5).logits
    progress = runtime.start(images, level=0)
    images[:] = 0
    np.testing.assert_array_equal(progress.resume(5).logits, expected)


def test_a_dropped_progress_leaves_nothing_behind(runtime):
    progress = runtime.start(_images(1), level=3)
    gone = weakref.ref(progress)
    gc.disable()
    try:
        del progress
        assert gone() is None
    finally:
        gc.enable()


def test_many_threads_share_one_runtime(exported, runtime):
    expected = [Runtime.load(exported.folder).run(_images(3), level).logits for level in LEVELS]

    def work(i):
        answer = runtime.run(_images(3), i % len(LEVELS))
        model = runtime.bundle.model(answer.model)
        return answer.level, answer.logits, id(runtime.session(model, model.segments[0]))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(60)))
    for level, logits, _ in answers:
        np.testing.assert_array_equal(logits, expected[level])
    assert len({session for *_, session in answers}) == 2  # one trunk_0 per model
    assert len(runtime.loaded) == 12


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((1, 3, 9, 8), np.float32), "raw uint8 pixels .* got float32; give"),
        (np.full((1, 3, 9, 8), np.nan), "raw uint8 pixels .* got float64; give"),
        (np.zeros((1, 9, 8, 3), np.uint8), r"got shape \(1, 9, 8, 3\); resize or transpose"),
        (np.zeros((9, 8), np.uint8), r"got shape \(9, 8\)"),
        (np.zeros((1, 1, 3, 9, 8), np.uint8), r"got shape \(1, 1, 3, 9, 8\)"),
        (np.zeros((0, 3, 9, 8), np.uint8), r"got shape \(0, 3, 9, 8\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(runtime, images, sentence):
    with pytest.raises(DataError, match=sentence):
        runtime.run(images, 0)


@pytest.mark.parametrize("level", [-1, 6])
def test_a_level_that_is_not_there_is_refused(runtime, level):
    with pytest.raises(BundleError, match=f"level must be from 0 to 5, but got {level}"):
        runtime.run(_images(1), level)


def test_no_thread_is_refused(exported):
    with pytest.raises(BundleError, match="threads must be at least 1, but got 0"):
        Runtime.load(exported.folder, threads=0)


def test_a_segment_that_is_no_network_is_refused(changed):
    runtime = Runtime.load(changed(lambda record: None, {"models/small/trunk_0.onnx": b"no network"}))
    with pytest.raises(BundleError, match=r"trunk_0\.onnx must be ONNX that runs here, but got"):
        runtime.run(_images(1), 0)


def _wrong_shape(record):
    record["input"]["shape"] = [3, 8, 9]


def _wrong_classes(record):
    record["classes"].append("eel")


def _wrong_tensor(record):
    trunk, head, *_ = record["models"]["small"]["segments"]
    trunk["outputs"] = head["inputs"] = ["another"]
    for segment in record["models"]["small"]["segments"]:
        segment["inputs"] = [name.replace("feature_0", "another") for name in segment["inputs"]]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (_wrong_shape, r"trunk_0\.onnx must have x with the sizes"),
        (_wrong_classes, r"head_0\.onnx must have logits with the sizes"),
        (_wrong_tensor, r"trunk_0\.onnx must have the tensors \['x', 'another'\], but has"),
    ],
)
def test_a_description_that_differs_from_the_files_is_refused(changed, edit, sentence):
    runtime = Runtime.load(changed(edit))
    with pytest.raises(BundleError, match=sentence):
        runtime.run(np.zeros(runtime.bundle.input_shape, np.uint8), 0)


def test_a_device_needs_numpy_and_onnxruntime_only(exported):
    code = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {{"torch", "onnx", "optuna", "pandas", "sklearn", "scipy"}}:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
import numpy as np
from nas.runtime import BatteryBands, Governor, Runtime, SystemSignals

runtime = Runtime.load({str(exported.folder)!r})
governor = Governor(runtime.levels, BatteryBands()).step(SystemSignals().read())
runtime.run(np.zeros((1, 3, 9, 8), np.uint8), governor.level)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
