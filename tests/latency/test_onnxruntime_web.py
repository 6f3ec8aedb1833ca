"""The package comes whole from a registry or not at all; a folder already there needs none."""

import base64
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nas.errors import TargetError
from nas.latency.onnxruntime_web import FILES, VERSION, find_folder, install

CONTENT = {f"package/dist/{name}": name.encode() for name in FILES}
NOWHERE = "http://127.0.0.1:9"  # the port where nothing may listen


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a registry's archives for this package."""
    root = tmp_path / "registry"
    folder = root / "onnxruntime-web/-"
    folder.mkdir(parents=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=root)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("npm_config_registry", NOWHERE)
        monkeypatch.setenv("NAS_NPM_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()


def publish(registry: Path, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> str:
    """Make the archive; gives its checksum."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, place in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, place
            archive.addfile(member)
    (registry / f"onnxruntime-web-{VERSION}.tgz").write_bytes(stream.getvalue())
    return base64.b64encode(hashlib.sha512(stream.getvalue()).digest()).decode()


def test_only_the_files_wanted_are_installed(registry: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache/web"
    outside = {"package/dist/other.mjs": b"", "../outside": b"", "package/dist/../../outside": b""}
    install(folder, publish(registry, CONTENT | outside))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: name.encode() for name in FILES
    }
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        (*FILES, f"onnxruntime-web-{VERSION}.tgz")
    )


def test_another_archive_than_expected(registry: Path, tmp_path: Path) -> None:
    found = publish(registry, CONTENT)
    with pytest.raises(TargetError, match="but did not: its sha512 is ") as caught:
        install(tmp_path / "cache")
    assert found in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_files_that_are_missing_or_links(registry: Path, tmp_path: Path) -> None:
    first, *others = CONTENT
    rest = {name: CONTENT[name] for name in others}
    for links in ({}, {first: "/etc/hostname"}):
        with pytest.raises(TargetError, match=f"it has no {FILES[0]}; connect to it"):
            install(tmp_path / "cache", publish(registry, rest, links))
    assert not (tmp_path / "cache").exists()


def test_what_is_no_archive(registry: Path, tmp_path: Path) -> None:
    (registry / f"onnxruntime-web-{VERSION}.tgz").write_bytes(b"text")
    checksum = base64.b64encode(hashlib.sha512(b"text").digest()).decode()
    with pytest.raises(TargetError, match="must come from http"):
        install(tmp_path / "cache", checksum)


@pytest.mark.parametrize("name", ["NAS_NPM_REGISTRY", "npm_config_registry"])
def test_no_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.delenv("NAS_NPM_REGISTRY", raising=False)
    monkeypatch.setenv(name, NOWHERE)
    with pytest.raises(TargetError, match=rf"{NOWHERE}/onnxruntime-web/-/.* NAS_ORT_WEB to a folder"):
        install(tmp_path)


def test_a_package_without_its_version(registry: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="HTTP Error 404"):
        install(tmp_path)


def test_folders_that_are_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cached = tmp_path / f"nas-dial/onnxruntime-web-{VERSION}"
    cached.mkdir(parents=True)
    given = tmp_path / "given"
    given.mkdir()
    for name in FILES:
        (cached / name).touch()
        (given / name).touch()
    monkeypatch.setenv("NAS_NPM_REGISTRY", NOWHERE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NAS_ORT_WEB", raising=False)
    assert find_folder() == cached
    monkeypatch.setenv("NAS_ORT_WEB", str(given))
    assert find_folder() == given
    (given / FILES[1]).unlink()
    with pytest.raises(TargetError, match=f"given has no {FILES[1]}; name the folder dist"):
        find_folder()
