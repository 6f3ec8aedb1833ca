"""A bundle with a damaged or forged file, folder or zip is refused."""

import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from nas.bundle import Bundle, BundleModel, Latency, Level, SegmentFile, archive, write_bundle
from nas.errors import BundleError

FILES = {"models/tiny/trunk_0.onnx": b"tiny trunk_0", "models/tiny/head_0.onnx": b"tiny head_0"}
SEGMENTS = tuple(
    SegmentFile(
        name=Path(file).stem,
        file=file,
        sha256=hashlib.sha256(FILES[file]).hexdigest(),
        inputs=reads,
        outputs=makes,
    )
    for file, reads, makes in zip(FILES, [("x",), ("a",)], [("a",), ("logits", "confidence")], strict=True)
)
BUNDLE = Bundle(
    input_shape=(1, 8, 8),
    classes=("no", "yes"),
    models=(
        BundleModel(name="tiny", segments=SEGMENTS, exits=1, architecture={"space": "a.b:c"}, id="12ab"),
    ),
    levels=(
        Level(
            model="tiny",
            exit=0,
            accuracy=0.75,
            macs=1200,
            latency=Latency(p50_ms=0.25, p95_ms=0.5, spread=0.1, runs=50, target="a chip, 1 thread"),
        ),
    ),
    provenance={"seed": 0},
)


@pytest.fixture
def folder(tmp_path):
    write_bundle(tmp_path / "bundle", BUNDLE, FILES)
    return tmp_path / "bundle"


def _packed(folder):
    return Path(shutil.make_archive(folder, "zip", folder))


def test_a_tampered_segment_is_refused_at_loading_and_at_reading(folder):
    loaded = Bundle.load(folder)
    (folder / "models/tiny/head_0.onnx").write_bytes(b"tampered")
    with pytest.raises(BundleError, match=r"head_0\.onnx must have the sha256"):
        Bundle.load(folder)
    with pytest.raises(BundleError, match=r"head_0\.onnx must have the sha256"):
        loaded.read(SEGMENTS[1])


@pytest.mark.parametrize("zipped", [False, True])
def test_further_files_are_as_safe_as_segments(folder, zipped):
    notes = "models/tiny/notes.txt"
    written = write_bundle(folder, BUNDLE, FILES | {notes: b"extra"})
    assert written.files == {notes: hashlib.sha256(b"extra").hexdigest()}

    def path():
        return shutil.make_archive(folder, "zip", folder.parent, folder.name) if zipped else folder

    assert Bundle.load(path()) == written
    (folder / notes).write_bytes(b"other")
    with pytest.raises(BundleError, match=r"notes\.txt must have the sha256"):
        Bundle.load(path())
    (folder / notes).unlink()
    with pytest.raises(BundleError, match=r"notes\.txt must be"):
        Bundle.load(path())


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_that_is_not_listed_is_refused(folder, zipped):
    (folder / "models" / "new").mkdir()
    (folder / "models" / "new" / "trunk_0.onnx").write_bytes(b"evil")
    path = _packed(folder) if zipped else folder
    with pytest.raises(BundleError, match=r"json lists, but has 'models/new/trunk_0\.onnx'; remove"):
        Bundle.load(path)


def test_a_link_out_of_the_bundle_is_refused(folder, tmp_path):
    outside = tmp_path / "outside.onnx"
    inside = folder / "models/tiny/trunk_0.onnx"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(BundleError, match="must stay inside the bundle, but links to"):
        Bundle.load(folder)


def test_a_pipe_in_the_place_of_a_file_does_not_hang(folder):
    (folder / "models/tiny/trunk_0.onnx").unlink()
    os.mkfifo(folder / "models/tiny/trunk_0.onnx")
    with pytest.raises(BundleError, match="must be a file"):
        Bundle.load(folder)


def test_a_huge_file_is_refused_before_it_is_read(folder):
    os.truncate(folder / "models/tiny/trunk_0.onnx", archive.MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(BundleError, match="must have at most 268435456 bytes, but has 268435457"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "a\\evil", "C:evil"])
def test_a_zip_with_names_that_leave_it_is_refused(folder, name):
    path = _packed(folder)
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr(name, b"evil")
    with pytest.raises(BundleError, match="must stay inside the bundle, but got"):
        Bundle.load(path)


def test_a_zip_with_a_name_twice_is_refused(folder):
    path = _packed(folder)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as packed:
        packed.writestr("bundle.json", b"{}")
    with pytest.raises(BundleError, match="must have different names"):
        Bundle.load(path)


def test_a_zip_packed_in_an_unusual_way_is_refused(folder, tmp_path):
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("bundle.json", (folder / "bundle.json").read_bytes())
    with pytest.raises(BundleError, match="must be stored or deflated"):
        Bundle.load(path)


def test_every_truncation_of_a_zip_is_refused(folder):
    path = _packed(folder)
    data = path.read_bytes()
    for length in range(0, len(data) - 1, 53):
        path.write_bytes(data[:length])
        with pytest.raises(BundleError):
            Bundle.load(path)


def test_every_flipped_byte_of_a_zip_is_refused_or_harmless(folder):
    path = _packed(folder)
    data = path.read_bytes()
    for i in range(0, len(data), 7):
        path.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            assert Bundle.load(path) == BUNDLE
        except BundleError:
            continue


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="must be free or hold a bundle"):
        write_bundle(tmp_path, BUNDLE, FILES)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_every_truncation_of_the_index_is_refused(folder):
    text = (folder / "bundle.json").read_bytes()
    for length in range(0, len(text) - 1, 97):
        (folder / "bundle.json").write_bytes(text[:length])
        with pytest.raises(BundleError, match=r"bundle\.json must be complete JSON"):
            Bundle.load(folder)


@pytest.mark.parametrize("text", [b"\xff\xfe", b"[" * 100_000, b"[]", b"3"])
def test_an_index_that_is_no_object_is_refused(folder, text):
    (folder / "bundle.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"bundle\.json must be"):
        Bundle.load(folder)


def test_no_bundle_at_all_is_refused(tmp_path):
    (tmp_path / "text").write_text("text")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "text"):
        with pytest.raises(BundleError, match="must be readable"):
            Bundle.load(path)


@pytest.mark.parametrize("bad", [object(), {1, 2}, float("nan"), float("inf"), {(1, 2): 3}])
def test_what_is_no_json_is_refused_before_anything_is_written(tmp_path, bad):
    with pytest.raises(BundleError, match=r"must be plain JSON values, but got: .*; convert"):
        write_bundle(tmp_path / "new" / "bundle", replace(BUNDLE, provenance={"x": bad}), FILES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("energy_mj", "source"), [(0.5, ""), (None, "measured")])
def test_energy_without_a_source_is_refused(folder, energy_mj, source):
    record = json.loads((folder / "bundle.json").read_text())
    record["levels"][0] |= {"energy_mj": energy_mj, "energy_source": source}
    (folder / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(BundleError, match=r"levels\[0\]\.energy_source must say where energy is from"):
        Bundle.load(folder)
