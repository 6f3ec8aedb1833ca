"""A bundle comes back as it was written, and a wrong index is refused with one sentence."""

import hashlib
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nas.bundle import Bundle, BundleModel, Certificate, Latency, Level, SegmentFile, write_bundle
from nas.errors import BundleError


def _model(name):
    links = {
        "trunk_0": (("x",), ("a",)),
        "head_0": (("a",), ("logits", "confidence")),
        "trunk_1": (("x", "a"), ("b", "c")),
        "head_1": (("a", "c"), ("logits", "confidence")),
    }
    files = {f"models/{name}/{part}.onnx": f"{name} {part}".encode() for part in links}
    segments = tuple(
        SegmentFile(
            name=part, file=file, sha256=hashlib.sha256(data).hexdigest(), inputs=reads, outputs=makes
        )
        for (part, (reads, makes)), (file, data) in zip(links.items(), files.items(), strict=True)
    )
    architecture = {"space": "a.b:c", "choices": [["width", 8]]}
    return BundleModel(name=name, segments=segments, exits=2, architecture=architecture, id="12ab"), files


MODEL, FILES = _model("tiny")
LATENCY = Latency(p50_ms=0.25, p95_ms=0.5, spread=0.1, runs=50, target="a chip, 1 thread")
SLOWER = replace(LATENCY, p50_ms=0.75, p95_ms=1.5, low_ms=0.7, high_ms=0.8, spread=0.2, runs=40)
BUNDLE = Bundle(
    input_shape=(1, 8, 8),
    classes=("no", "yes"),
    models=(MODEL,),
    levels=(
        Level(
            model="tiny",
            exit=0,
            accuracy=0.75,
            macs=1200,
            latency=LATENCY,
            energy_mj=0.5,
            energy_source="declared: 2W",
        ),
        Level(
            model="tiny",
            exit=1,
            accuracy=1.0,
            macs=4000,
            latency=replace(SLOWER, slowdown=1.5, power_w=2.5),
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
    provenance={"seed": 0, "versions": {"onnxruntime": "1.2"}},
)


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "out" / "bundle", BUNDLE, FILES)
    return tmp_path / "out" / "bundle"


def _contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_bundle_comes_back_as_it_was_written(folder):
    loaded = Bundle.load(folder)
    assert loaded == BUNDLE
    assert hash(loaded) == hash(BUNDLE)
    assert Bundle.from_json(json.loads(json.dumps(BUNDLE.to_json()))) == BUNDLE
    assert [loaded.read(segment) for segment in loaded.model("tiny").segments] == list(FILES.values())


def test_the_index_has_the_documented_form(folder):
    record = json.loads((folder / "bundle.json").read_text())
    assert (record["format"], record["version"]) == ("nas-dial-bundle", 1)
    assert record["input"] == {"shape": [1, 8, 8], "dtype": "uint8"}
    assert record["models"]["tiny"]["segments"][0]["file"] == "models/tiny/trunk_0.onnx"
    first, last = record["levels"]
    assert last["latency_ms"] == {
        "p50": 0.75,
        "p95": 1.5,
        "low": 0.7,
        "high": 0.8,
        "spread": 0.2,
        "runs": 40,
        "slowdown": 1.5,
        "power_w": 2.5,
        "target": "a chip, 1 thread",
    }
    assert [first["latency_ms"][key] for key in ("low", "high", "slowdown")] == [None, None, 1]
    assert [level["energy_mj"] for level in (first, last)] == [0.5, None]
    assert [level["energy_source"] for level in (first, last)] == ["declared: 2W", ""]
    assert [level["keeps_budget"] for level in (first, last)] == [None, True]
    assert record["certificate"] == {
        "budget": "latency<=1ms",
        "measured": "2026-01-31T12:00:00+00:00",
        "versions": {"onnxruntime": "1.2"},
        "conditions": {"host_load": 0.25, "host_cores": None},
    }
    assert record["files"] == {}


@pytest.mark.parametrize(("root", "base"), [("out/bundle", "."), ("out", "bundle")], ids=["in", "around"])
def test_a_zip_is_as_good_as_the_folder(folder, tmp_path, root, base):
    loaded = Bundle.load(shutil.make_archive(folder, "zip", tmp_path / root, base))
    assert loaded == BUNDLE
    assert loaded.read(MODEL.segments[2]) == FILES["models/tiny/trunk_1.onnx"]


def test_an_exit_runs_the_trunks_up_to_it_and_one_head():
    assert [segment.name for segment in MODEL.segments_at(0)] == ["trunk_0", "head_0"]
    assert [segment.name for segment in MODEL.segments_at(1)] == ["trunk_0", "trunk_1", "head_1"]


def test_a_trunk_that_adds_nothing_may_be_missing():
    record = BUNDLE.to_json()
    segments = record["models"]["tiny"]["segments"]
    segments[:] = [segments[0], segments[1], segments[3] | {"inputs": ["a"]}]
    names = [segment.name for segment in Bundle.from_json(record).models[0].segments_at(1)]
    assert names == ["trunk_0", "head_1"]


def test_writing_again_replaces_the_bundle_and_leaves_nothing_else(folder):
    other = replace(BUNDLE, provenance={"seed": 1})
    written = write_bundle(folder, other, FILES | {"models/tiny/notes.txt": b"extra"})
    assert written.path == folder
    assert Bundle.load(folder) == written
    assert replace(written, files={}) == other
    assert (folder / "models/tiny/notes.txt").read_bytes() == b"extra"
    assert [file.name for file in folder.parent.iterdir()] == ["bundle"]


def test_a_write_that_fails_changes_nothing(folder):
    before = _contents(folder)
    incomplete = {name: data for name, data in FILES.items() if "head_1" not in name}
    for files in (incomplete, FILES | {"models/tiny/head_1.onnx": b"other"}, FILES | {"../outside": b""}):
        with pytest.raises(BundleError):
            write_bundle(folder, BUNDLE, files)
    assert _contents(folder) == before
    assert [file.name for file in folder.parent.iterdir()] == ["bundle"]


def _set(*path):
    *keys, last, value = path

    def edit(record):
        for key in keys:
            record = record[key]
        record[last] = value

    return edit


def _drop(*path):
    *keys, last = path

    def edit(record):
        for key in keys:
            record = record[key]
        del record[last]

    return edit


_TINY = ("models", "tiny")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (_set("format", "zoo"), "format 'nas-dial-bundle', the only one read here, but got 'zoo'"),
        (_set("version", 2), "version 1, the only one read here, but got 2; update"),
        (_drop("levels"), "bundle.json must have the key 'levels', but has only"),
        (_set("levels", {}), r"bundle.json\.levels must be a list, but got \{\}"),
        (_set("levels", []), "at least one level"),
        (_set("levels", 0, "exit", 2), r"levels\[0\] must name one of the 2 exits .* but got 2"),
        (_set("levels", 0, "exit", -1), r"levels\[0\] must name one of .* but got -1"),
        (_set("levels", 0, "exit", True), r"levels\[0\]\.exit must be a whole number, but got True"),
        (_set("levels", 1, "model", "big"), r"levels\[1\] must name one of .* but got 'big'"),
        (
            _set("levels", 0, "accuracy", 75),
            r"levels\[0\]\.accuracy must be a finite number from 0 to 1, but got 75",
        ),
        (
            _set("levels", 0, "accuracy", float("nan")),
            "accuracy must be a finite number from 0 to 1, but got nan",
        ),
        (_set("levels", 0, "energy_mj", 10**400), "energy_mj must be a finite number not below 0"),
        (
            _set("levels", 0, "latency_ms", "p50", "fast"),
            r"latency_ms\.p50 must be a finite number .* 'fast'",
        ),
        (
            _set("levels", 0, "latency_ms", "p50", 0),
            r"levels\[0\]\.latency_ms\.p50 must be above 0, but got 0",
        ),
        (_set("levels", 0, "latency_ms", "runs", -1), r"latency_ms\.runs must be from 0 to .* but got -1"),
        (_set("levels", 0, "macs", -5), r"levels\[0\]\.macs must be from 0 to .* but got -5"),
        (
            _set("levels", 0, "latency_ms", None),
            "levels must have a latency all or none, but 1 of 2 have one",
        ),
        (
            _set("levels", 0, "latency_ms", "p50", 3),
            r"levels must be in order of latency, .* but levels\[1\] has 0\.75 after 3;",
        ),
        (lambda record: record["levels"].append(record["levels"][1]), "levels must differ .* two are alike"),
        (_drop("files"), "bundle.json must have the key 'files'"),
        (_set("files", {"../x": "0"}), r"files must stay inside the bundle, but got '\.\./x'"),
        (_set("files", {"x": 0}), r"files\.x must be text, but got 0"),
        (_set("levels", 0, "latency_ms", 3), r"levels\[0\]\.latency_ms must be an object, but got 3"),
        (_set("levels", 1, "thresholds", ["x"]), r"levels\[1\]\.thresholds must be a finite number"),
        (_drop("levels", 0, "thresholds"), r"levels\[0\] must have the key 'thresholds'"),
        (_drop("levels", 0, "keeps_budget"), r"levels\[0\] must have the key 'keeps_budget'"),
        (_set("levels", 0, "keeps_budget", 1), r"levels\[0\]\.keeps_budget must be true or false, but got 1"),
        (_drop("levels", 0, "latency_ms", "slowdown"), r"latency_ms must have the key 'slowdown'"),
        (_set("levels", 0, "latency_ms", "high", "?"), r"latency_ms\.high must be a finite number .* '\?'"),
        (_drop("certificate"), "bundle.json must have the key 'certificate'"),
        (_set("certificate", []), r"certificate must be an object, but got \[\]"),
        (_set("certificate", "budget", None), r"certificate\.budget must be text, but got None"),
        (_set("certificate", "measured", "noon"), r"certificate\.measured must be a date and time .* 'noon'"),
        (_set("certificate", "measured", "2026-01-31T12:00:00"), "certificate.measured must be a date"),
        (_set("certificate", "versions", "x", 3), r"certificate\.versions\.x must be text, but got 3"),
        (_set("certificate", "conditions", "x", "y"), r"certificate\.conditions\.x must be a finite number"),
        (_set("classes", ["a", "a"]), "classes must be a list of one or more different texts"),
        (_set("classes", []), "classes must be a list of one or more different texts"),
        (_set("input", "shape", [8, 8]), r"three sizes \[C, H, W\], but got uint8 and \[8, 8\]"),
        (_set("input", "dtype", "float32"), "must be uint8 .* but got float32"),
        (_set(*_TINY, "exits", 3), "have at least one exit and the segments .* but got exits 3"),
        (_set(*_TINY, "exits", 0), "have at least one exit and the segments .* but got exits 0"),
        (_drop(*_TINY, "segments", 1), "have at least one exit and the segments"),
        (_set(*_TINY, "segments", 2, "inputs", ["z"]), r"trunk_1 must read what earlier .* reads \['z'\]"),
        (_set(*_TINY, "segments", 2, "outputs", ["a"]), r"trunk_1 must make features of new names.*\['a'\]"),
        (
            _set(*_TINY, "segments", 3, "outputs", ["b"]),
            r"head_1 must make confidence, logits, but",
        ),
        (
            _set(*_TINY, "segments", 0, "file", "../trunk_0.onnx"),
            r"stay inside the bundle, but got '\.\./trunk",
        ),
        (_set(*_TINY, "segments", 0, "file", "/etc/passwd"), "stay inside the bundle, but got '/etc/passwd'"),
        (_set(*_TINY, "segments", 0, "file", "C:\\trunk"), "stay inside the bundle, but got"),
        (_set(*_TINY, "segments", 0, "file", "models/none.onnx"), r"models/none\.onnx must be readable"),
        (_set(*_TINY, "segments", 0, "file", "models"), "models must be a file"),
        (
            _set(*_TINY, "segments", 0, "sha256", "0" * 64),
            "trunk_0.onnx must have the sha256 .* 000000000000",
        ),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_wrong_index_is_refused_with_one_sentence(folder, edit, sentence, zipped):
    record = json.loads((folder / "bundle.json").read_text())
    edit(record)
    (folder / "bundle.json").write_text(json.dumps(record))
    path = folder
    if zipped:
        path = shutil.make_archive(folder, "zip", folder)
        sentence = sentence.replace("models must be a file", "models must be in the zip")
        sentence = sentence.replace("none\\.onnx must be readable", "none\\.onnx must be in the zip")
    with pytest.raises(BundleError, match=sentence) as caught:
        Bundle.load(path)
    assert str(caught.value).startswith(f"bundle {path}: ")
    assert "\n" not in str(caught.value)


def test_without_times_levels_are_in_order_of_macs():
    record = replace(BUNDLE, levels=tuple(replace(level, latency=None) for level in BUNDLE.levels)).to_json()
    assert Bundle.from_json(record).levels[0].macs == 1200
    record["levels"].reverse()
    with pytest.raises(BundleError, match=r"or of macs without it, but levels\[1\] has 1200 after 4000"):
        Bundle.from_json(record)


def test_what_a_bundle_does_not_have():
    with pytest.raises(BundleError, match="must be on disk to be read"):
        BUNDLE.read(MODEL.segments[0])
    with pytest.raises(BundleError, match=r"a model must be one of \['tiny'\], but got 'big'"):
        BUNDLE.model("big")
