"""A recording answers as the target did, and says what it does not hold."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest

import search_spaces.mixed
from nas.bundle import IMAGE
from nas.errors import TargetError
from nas.latency import LocalTarget, Target, measure_exits, open_target
from nas.latency.recorded import RecordedTarget, Recorder
from nas.latency.target import Inputs
from nas.latency.timing import Timing
from nas.layers import activation, conv_norm_act, global_avg_pool, linear
from nas.net import Net
from nas.onnx import onnx_model, random_weights, shipped_segments

PICTURE = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8), np.uint8)


def chain(kernel_size: int = 3) -> list[bytes]:
    """The trunk and the head of a small network."""
    net = Net(lambda name, options: options[0])
    x = conv_norm_act(net.input((3, 8, 8)), 4, kernel_size=kernel_size)
    net.exit(lambda x: linear(global_avg_pool(activation(x, "relu")), 10), x)
    graph = net.graph()
    return [onnx_model(graph, random_weights(graph), segment) for segment in shipped_segments(graph)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Timing]:
    """A recording of the local target, and what it measured."""
    path = tmp_path_factory.mktemp("recording") / "local.json"
    return path, Recorder(LocalTarget(), path).time(chain(), {IMAGE: PICTURE}, seconds=0.02)


@final
class KnownTarget(Target):
    """Every measurement comes out as the given timing."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing

    @property
    def identity(self) -> str:
        return self._timing.target

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        return self._timing


def noisy(*, rounds: int, reference: bool, seed: int) -> Timing:
    """Rounds of 5 passes and 3 models, with a calm reference network beside a disturbed round."""
    rng = np.random.default_rng(seed)
    times_s = 1e-3 * rng.lognormal(0, 0.3, (rounds, 1, 3)) * rng.lognormal(0, 0.02, (rounds, 5, 3))
    reference_s = 1e-4 * (1.2 + rng.random(rounds))
    slowest = int(np.argmax(times_s.sum((1, 2))))
    reference_s[slowest] = 1.1e-4
    return Timing(tuple(times_s), tuple(reference_s.tolist()) if reference else (), 1e-4, "known")


def test_replayed_as_measured(recorded: tuple[Path, Timing]) -> None:
    path, timing = recorded
    target = RecordedTarget.load(path)
    assert target.identity == LocalTarget().identity
    replayed = target.time(chain(), {IMAGE: PICTURE.copy()})
    assert replayed.to_json() == timing.to_json()
    assert open_target(f"recorded:{path}").time(chain(), {IMAGE: PICTURE}).latency() == timing.latency()


@pytest.mark.parametrize(
    ("models", "inputs"),
    [
        (chain(5), {IMAGE: PICTURE}),
        (chain()[:1], {IMAGE: PICTURE}),
        (chain()[::-1], {IMAGE: PICTURE}),
        ([b"".join(chain())], {IMAGE: PICTURE}),
        ([chain()[0] + chain()[1][:1], chain()[1][1:]], {IMAGE: PICTURE}),
        ([], {IMAGE: PICTURE}),
        (chain(), {}),
        (chain(), {"picture": PICTURE}),
        (chain(), {IMAGE: PICTURE, "more": PICTURE}),
        (chain(), {IMAGE: PICTURE.view(np.int8)}),
        (chain(), {IMAGE: PICTURE.reshape(1, 8, 8, 3)}),
        (chain(), {IMAGE: PICTURE + np.uint8(1)}),
    ],
    ids=[
        "other",
        "part",
        "order",
        "joined",
        "moved byte",
        "none",
        "no input",
        "name",
        "more",
        "type",
        "shape",
        "values",
    ],
)
def test_what_was_never_measured(
    recorded: tuple[Path, Timing], models: list[bytes], inputs: dict[str, np.ndarray]
) -> None:
    target = RecordedTarget.load(recorded[0])
    with pytest.raises(TargetError, match=r"must have been recorded .* holds 1 others .*; measure them"):
        target.time(models, inputs)


def test_order_of_inputs_is_no_matter(tmp_path: Path) -> None:
    timing = noisy(rounds=3, reference=True, seed=0)
    a, b = {"a": PICTURE}, {"b": PICTURE[:, :1]}
    Recorder(KnownTarget(timing), tmp_path / "r.json").time([b"model"], {**a, **b})
    replayed = RecordedTarget.load(tmp_path / "r.json").time([b"model"], {**b, **a})
    assert replayed.to_json() == timing.to_json()


def test_a_file_is_continued_and_the_later_measurement_counts(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    first, second, third = (noisy(rounds=3, reference=True, seed=seed) for seed in range(3))
    Recorder(KnownTarget(first), path).time([b"one"], {})
    recorder = Recorder(KnownTarget(second), path)
    recorder.time([b"two"], {})
    assert RecordedTarget.load(path).time([b"one"], {}).to_json() == first.to_json()
    Recorder(KnownTarget(third), path).time([b"one"], {})
    target = RecordedTarget.load(path)
    assert target.time([b"one"], {}).to_json() == third.to_json()
    assert target.time([b"two"], {}).to_json() == second.to_json()


def test_exits_of_networks(tmp_path: Path) -> None:
    space, path = search_spaces.mixed.space, tmp_path / "local.json"
    graphs = [space.graph(space.sample(Random(seed))) for seed in range(2)]
    recorder = Recorder(LocalTarget(), path)
    measured = [measure_exits(recorder, graph, seconds=0.02) for graph in graphs]
    target = RecordedTarget.load(path)
    assert [measure_exits(target, graph) for graph in graphs] == measured


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("rounds", [65, 500])
@pytest.mark.parametrize("seed", range(5))
def test_the_quietest_rounds_stay(tmp_path: Path, rounds: int, reference: bool, seed: int) -> None:
    timing = noisy(rounds=rounds, reference=reference, seed=seed)
    returned = Recorder(KnownTarget(timing), tmp_path / "r.json").time([b"model"], {})
    assert returned is timing
    kept = RecordedTarget.load(tmp_path / "r.json").time([b"model"], {})
    assert len(kept.rounds) == 64
    pairs = set(
        zip(map(np.ndarray.tobytes, timing.rounds), timing.reference_s or [0.0] * rounds, strict=True)
    )
    assert set(zip(map(np.ndarray.tobytes, kept.rounds), kept.reference_s or [0.0] * 64, strict=True)) < pairs
    before, after = timing.latency(), kept.latency()
    assert after == replace(before, p95_ms=after.p95_ms, spread=after.spread, runs=5 * 64)


def test_a_file_of_another_target(recorded: tuple[Path, Timing]) -> None:
    with pytest.raises(TargetError, match=r"must be a recording of .*threads 2'.* of .*threads 1'; name"):
        Recorder(LocalTarget(threads=2), recorded[0])


@pytest.mark.parametrize(
    "change",
    [
        {"format": "nas-dial-calibration"},
        {"version": 2},
        {"entries": []},
        {"entries": {"0": {}}},
        {"entries": {"0": {"rounds_s": [[[-1.0]]], "reference_s": [], "floor_s": 0.0, "target": "x"}}},
        {"entries": {"0": {"rounds_s": [[[10**400]]], "reference_s": [], "floor_s": 0.0, "target": "x"}}},
        {"target": "another"},
    ],
    ids=["format", "version", "list", "empty", "negative", "huge", "target"],
)
def test_a_foreign_file(recorded: tuple[Path, Timing], tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(json.dumps(json.loads(recorded[0].read_bytes()) | change), encoding="utf-8")
    check_refused(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"cut"])
def test_a_damaged_file(recorded: tuple[Path, Timing], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(recorded[0].read_bytes()[:-20] if content == b"cut" else content)
    check_refused(path)


def check_refused(path: Path) -> None:
    content = path.read_bytes()
    with pytest.raises(TargetError, match=r"must be a recording, version 1, but is not: .*; record"):
        RecordedTarget.load(path)
    with pytest.raises(TargetError, match=r"must be a recording, version 1, but is not: .*; record"):
        Recorder(LocalTarget(), path)
    assert path.read_bytes() == content


def test_places_without_a_recording(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="must be a recording"):
        RecordedTarget.load(tmp_path / "none.json")
    recorder = Recorder(KnownTarget(noisy(rounds=3, reference=True, seed=0)), tmp_path / "none" / "r.json")
    with pytest.raises(TargetError, match=r"must be writable, but is not: .*; name another"):
        recorder.time([b"model"], {})
