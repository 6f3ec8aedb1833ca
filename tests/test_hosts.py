"""The example of a host in another language answers as the library does, and refuses what it cannot run."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import numpy as np
import pytest

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.errors import TargetError
from nas.export.entries import model_entry
from nas.graph import Graph
from nas.latency.onnxruntime_web import find_folder
from nas.model import Model
from nas.runtime import FusedModel
from search_spaces.mixed import space

SCRIPT = Path(__file__).parents[1] / "docs" / "hosts" / "run_fused.mjs"
NODE = shutil.which("node")
SHAPE, CLASSES = (3, 12, 12), ("a", "b", "c", "d")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(NODE is None, reason="node must be on PATH, but is not")]


def sampled(exits: int) -> Graph:
    """A network of `mixed` with so many exits."""
    rng, small = Random(0), space.at(SHAPE, len(CLASSES))
    graphs = (small.graph(small.sample(rng)) for _ in itertools.count())
    return next(graph for graph in graphs if len(graph.exits) == exits)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Networks of 3 and 4 exits with random weights, the second with a mean of its heads."""
    readouts = Readout(temperatures=(0.5, 1.0, 2.0)), Readout(combine="mean")
    entries = [
        model_entry(f"exits{exits}", Model(sampled(exits)), readout)
        for exits, readout in zip((3, 4), readouts, strict=True)
    ]
    value = Bundle(
        input_shape=SHAPE,
        classes=CLASSES,
        models=tuple(entry.model for entry in entries),
        levels=tuple(Level(model=entry.model.name, exit=0, accuracy=0, macs=0) for entry in entries),
    )
    files = {name: content for entry in entries for name, content in entry.files.items()}
    return write_bundle(tmp_path_factory.mktemp("hosts") / "bundle", value, files)


@pytest.fixture(scope="module")
def runtime() -> str:
    """The folder of onnxruntime-web."""
    try:
        return str(find_folder())
    except TargetError as error:
        pytest.skip(str(error))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    (tmp_path / "image.raw").write_bytes(pixels.tobytes())
    return tmp_path / "image.raw"


def ran(*arguments: object, runtime: str = "") -> "subprocess.CompletedProcess[str]":
    command = [str(NODE), str(SCRIPT), *map(str, arguments)]
    environ = os.environ | {"NAS_ORT_WEB": runtime}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60, check=False)


@pytest.mark.parametrize("name", ["exits3", "exits4"])
def test_it_answers_as_the_library_does(bundle: Bundle, runtime: str, tmp_path: Path, name: str) -> None:
    fused, rng, left = FusedModel.load(bundle, name), np.random.default_rng(1), set()
    for number in range(6):
        image = rng.integers(0, 256, SHAPE, np.uint8)
        max_exit, thresholds = number % fused.exits, rng.uniform(0, 1, fused.exits - 1) + number % 2
        (tmp_path / "image.raw").write_bytes(image.tobytes())
        listed = ",".join(map(str, thresholds))
        settings = ["--max-exit", max_exit, "--thresholds", listed]
        result = ran(bundle.path, name, tmp_path / "image.raw", *settings, runtime=runtime)
        assert result.stderr == ""
        answer = json.loads(result.stdout)
        logits, exit = fused.run(image, max_exit, thresholds.tolist())
        assert answer["exit"] == exit
        np.testing.assert_allclose(answer["logits"], logits[0], rtol=1e-4, atol=1e-4)
        assert answer["label"] == logits.argmax()
        assert answer["class"] == CLASSES[answer["label"]]
        readout = bundle.model(name).readout
        warm = logits[0] / (1 if readout.combine == "mean" else readout.temperature(exit))
        assert answer["probability"] == pytest.approx(1 / np.exp(warm - warm.max()).sum(), abs=1e-4)
        left.add(exit)
    assert len(left) > 1


def test_by_default_the_last_exit_answers(bundle: Bundle, runtime: str, image: Path) -> None:
    assert json.loads(ran(bundle.path, "exits3", image, runtime=runtime).stdout)["exit"] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["exits3"], "give BUNDLE MODEL IMAGE.raw"),
        (["exits5", "image.raw"], "MODEL must be one of exits3, exits4, but got exits5"),
        (["constructor", "image.raw"], "MODEL must be one of exits3, exits4, but got constructor"),
        (["exits3", "none.raw"], "IMAGE.raw must be a file"),
        (["exits3", "short.raw"], "an image must have 432 bytes"),
        (["exits3", "image.raw", "--thresholds", "0.9"], "--thresholds must be 2 numbers, but got 0.9"),
        (["exits3", "image.raw", "--thresholds", "0.9,"], "--thresholds must be 2 numbers, but got 0.9,"),
        (["exits3", "image.raw", "--thresholds", "0.9,x"], "--thresholds must be 2 numbers, but got 0.9,x"),
        (["exits3", "image.raw", "--max-exit", "3"], "--max-exit must be from 0 to 2, but got 3"),
        (["exits3", "image.raw", "--exit", "1"], "Unknown option '--exit'"),
    ],
)
def test_wrong_input_is_one_sentence(bundle: Bundle, image: Path, arguments: list[str], reason: str) -> None:
    (image.parent / "short.raw").write_bytes(bytes(7))
    places = [image.parent / part if part.endswith(".raw") else part for part in arguments]
    result = ran(bundle.path, *places)
    assert (result.returncode, result.stdout) == (2, "")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_bundle(image: Path) -> None:
    result = ran(image.parent, "exits3", image)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_damage_is_told(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    assert bundle.path is not None
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    file = copy / "models" / "exits3" / "fused.onnx"
    file.write_bytes(file.read_bytes()[:-1])
    damaged = ran(copy, "exits3", image)
    assert damaged.returncode == 1
    assert damaged.stderr == "models/exits3/fused.onnx must have the sha256 of bundle.json, but is damaged\n"
    (copy / "bundle.json").write_bytes(b"{")
    result = ran(copy, "exits3", image)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)


def test_a_file_outside_of_the_bundle(bundle: Bundle, image: Path, tmp_path: Path) -> None:
    assert bundle.path is not None
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    index = (copy / "bundle.json").read_text().replace("models/exits3/fused.onnx", "../fused.onnx")
    (copy / "bundle.json").write_text(index)
    result = ran(copy, "exits3", image)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "a file must stay inside the bundle, but got ../fused.onnx\n"
