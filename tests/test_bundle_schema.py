"""The published schema of bundle.json says what `Bundle.from_json` wants, as far as a schema can."""

import copy
import hashlib
import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nas.bundle import Bundle, BundleModel, Certificate, Latency, Level, Readout, SegmentFile, write_bundle
from nas.data import load_data
from nas.errors import BundleError
from nas.export import export
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.op import Shape
from nas.space import SearchSpace

SCHEMA = json.loads(files("nas.bundle").joinpath("schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def _segment(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> SegmentFile:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return SegmentFile(name=name, file=f"m/{name}.onnx", sha256=digest, inputs=inputs, outputs=outputs)


MODEL = BundleModel(
    name="m",
    segments=(
        _segment("trunk_0", ("x",), ("a",)),
        _segment("head_0", ("a", "state"), ("logits", "confidence", "next_state")),
        _segment("head_1", ("a", "state"), ("logits", "confidence", "next_state")),
    ),
    exits=2,
    architecture={"space": "a.b:c"},
    id="12ab",
    readout=Readout(combine="sum", temperatures=(0.5, 2.0)),
    fused=_segment("fused", ("x", "max_exit", "thresholds"), ("logits", "exit")),
    normalization={"mean": (-0.5,), "std": (2.0,)},
)
LATENCY = Latency(
    p50_ms=0.5, p95_ms=1.0, low_ms=0.4, high_ms=0.6, spread=0.1, runs=9, target="a chip", power_w=2.0
)
BUNDLE = Bundle(
    input_shape=(1, 8, 8),
    classes=("no", "yes"),
    models=(MODEL,),
    levels=(
        Level(model="m", exit=0, accuracy=0.5, macs=10, latency=LATENCY),
        Level(
            model="m",
            exit=1,
            accuracy=1.0,
            macs=20,
            latency=LATENCY,
            energy_mj=1.0,
            energy_source="measured",
            thresholds=(0.5,),
            keeps_budget=True,
        ),
    ),
    certificate=Certificate(
        budget="latency<=1ms",
        measured=datetime(2026, 1, 31, 12, tzinfo=UTC),
        versions={"onnxruntime": "1.2"},
        conditions={"host_load": 0.25, "host_cores": None},
    ),
    governor={"policy": "fixed"},
    provenance={"seed": 0},
    files={"notes.txt": "12ab"},
)
RECORD: dict[str, Any] = BUNDLE.to_json()

Place = tuple[str | int, ...]


def _places(value: object, place: Place = ()) -> list[Place]:
    """The ways to everything that a JSON value holds."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, inner in pairs for way in ((*place, key), *_places(inner, (*place, key)))]


def _holder(record: Any, place: Place) -> Any:
    for key in place[:-1]:
        record = record[key]
    return record


def _refused(record: object) -> bool:
    try:
        Bundle.from_json(record)
    except BundleError:
        return True
    return False


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_written_bundle_fits(tmp_path: Path) -> None:
    contents = {file.file: file.name.encode() for file in MODEL.files} | {"notes.txt": b"notes"}
    write_bundle(tmp_path / "bundle", BUNDLE, contents)
    VALIDATOR.validate(json.loads((tmp_path / "bundle" / "bundle.json").read_text()))


def test_an_exported_bundle_fits(tmp_path: Path) -> None:
    def head(x: Feature, num_classes: int) -> Feature:
        return linear(global_avg_pool(x), num_classes)

    def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
        x = net.input(input_shape)
        for _ in range(2):
            x = conv_norm_act(x, 4)
            net.exit(head, x, num_classes)

    space = SearchSpace(build, "tiny")
    architecture = space.architecture({})
    bundle = export(
        {"tiny": Model(space.graph(architecture))},
        tmp_path / "bundle",
        data=load_data("digits"),
        architectures={"tiny": architecture},
    )
    VALIDATOR.validate(json.loads(json.dumps(bundle.to_json())))


KEYS = [place for place in _places(RECORD) if isinstance(place[-1], str)]


@pytest.mark.parametrize("place", KEYS, ids=lambda place: ".".join(map(str, place)))
def test_the_same_keys_may_be_missing(place: Place) -> None:
    record = copy.deepcopy(RECORD)
    del _holder(record, place)[place[-1]]
    assert VALIDATOR.is_valid(record) == (not _refused(record))


_VALUES = (
    None,
    True,
    -1,
    0.5,
    1e301,
    "",
    "../x",
    [],
    ["a", "a"],
    {"../x": ""},
    {"x": 3},
)


@pytest.mark.parametrize("value", _VALUES, ids=repr)
def test_what_the_schema_refuses_is_refused(value: object) -> None:
    wrong = 0
    for place in _places(RECORD):
        record = copy.deepcopy(RECORD)
        _holder(record, place)[place[-1]] = value
        if not VALIDATOR.is_valid(record):
            wrong += 1
            assert _refused(record), place
    assert wrong


_INSIDE = ("a", "a/b", "a..b", "..a", ".a/.b", "...", "a/...")
_LEAVING = ("", ".", "..", "/", "/a", "a/", "a//b", "a/./b", "a/..", "../a", "a/../b", "a\\b", "a:b", "a\0b")


@pytest.mark.parametrize("path", [*_INSIDE, *_LEAVING], ids=repr)
def test_paths_that_leave_the_bundle_are_the_same(path: str) -> None:
    record = RECORD | {"files": {path: ""}}
    assert VALIDATOR.is_valid(record) == (path in _INSIDE)
    assert _refused(record) == (path in _LEAVING)


def test_unknown_keys_are_ignored() -> None:
    record = copy.deepcopy(RECORD)
    free = {("models",), ("files",), ("certificate", "versions"), ("certificate", "conditions")}
    for place in {place[:-1] for place in KEYS} - free - {("models", "m", "normalization")}:
        _holder(record, (*place, ""))["unknown"] = ["value"]
    VALIDATOR.validate(record)
    known = Bundle.from_json(record).to_json()
    for name in ("governor", "provenance", "architecture"):  # which keep all that they are given
        holder = known if name in known else known["models"]["m"]
        assert holder[name].pop("unknown") == ["value"]
    assert known == RECORD
