"""The server sends the page, the bundle and the runtime, and nothing else to nobody."""

import hashlib
import http.client
import json
import shutil
import socket
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from nas.bundle import Bundle
from nas.errors import BundleError, DataError, TargetError
from nas.latency.onnxruntime_web import FILES
from nas.web import DemoServer, serve
from nas.web.server import PAGE

SHAPE = (1, 6, 6)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
LABELS = np.array([0, 2, 1])


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "ort"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text(name)
    monkeypatch.setenv("NAS_ORT_WEB", str(folder))
    return folder


@pytest.fixture
def server(bundle: Path, runtime: Path) -> Iterator[DemoServer]:
    with serve(bundle, port=0, samples=(IMAGES, LABELS)) as server:
        yield server


def get(
    server: DemoServer, path: str, method: str = "GET", body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(server.url).port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_all_files_of_the_page_are_served_and_each_is_used() -> None:
    there = {path.name for path in (Path(str(files("nas"))) / "web").iterdir() if path.suffix != ".py"}
    assert there - {"__pycache__", "package.json"} == set(PAGE)


@pytest.mark.parametrize("name", ["", *PAGE[:1], "page.css", "ort/ort.wasm.min.mjs", "ort/" + FILES[2]])
def test_files_have_their_types_and_no_other_origin(server: DemoServer, name: str) -> None:
    answer, body = get(server, f"/{name}")
    kinds = {".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript"}
    kind = kinds.get(Path(name).suffix, "text/html" if not name else "application/wasm")
    assert (answer.status, answer.headers.get_content_type(), len(body) > 0) == (200, kind, True)
    assert answer.headers["Content-Length"] == str(len(body))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy and "*" not in policy and "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_the_networks_of_a_bundle(bundle: Path, tmp_path: Path, packed: bool) -> None:
    path = bundle
    if packed:
        path = tmp_path / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in bundle.rglob("*"):
                archive.write(file, file.relative_to(bundle.parent))
    with serve(path, port=0) as server:
        answer, body = get(server, "/bundle/bundle.json")
        assert answer.headers.get_content_type() == "application/json"
        assert json.loads(body) == Bundle.load(bundle).to_json()
        for file in Bundle.load(bundle).models[0].files:
            answer, body = get(server, f"/bundle/{file.file}")
            assert answer.status == 200
            assert hashlib.sha256(body).hexdigest() == file.sha256
        assert json.loads(get(server, "/samples.json")[1])["images"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/bundle/models/net/notes.txt",
        "/bundle",
        "/bundle/",
        "/bundle/../page.js",
        "/bundle/%2e%2e/page.js",
        "/bundle/models/net/../../bundle.json",
        "/../server.py",
        "/server.py",
        "/__init__.py",
        "/package.json",
        "//etc/passwd",
        "/ort/../../../etc/passwd",
        "/ort/ort.webgpu.min.mjs",
        "/favicon.ico",
        "/%00",
    ],
)
def test_nothing_else(server: DemoServer, path: str) -> None:
    answer, body = get(server, path)
    assert (answer.status, body) == (404, b"")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "NONSENSE"])
def test_no_other_method(server: DemoServer, method: str) -> None:
    answer, body = get(server, "/", method, b"GET / HTTP/1.1\r\n\r\n" if method == "POST" else None)
    assert (answer.status, answer.headers["Allow"], body) == (405, "GET", b"")
    assert answer.headers["Connection"] == "close"


def test_what_is_no_http(server: DemoServer) -> None:
    port = urlsplit(server.url).port
    with socket.create_connection(("127.0.0.1", port or 0), timeout=10) as stranger:
        stranger.sendall(b"GET / / / HTTP/1.1\r\n\r\n")
        assert b" 400 " in stranger.recv(4096)
    assert get(server, "/")[0].status == 200


def test_samples_are_raw_bytes(server: DemoServer) -> None:
    listed = json.loads(get(server, "/samples.json")[1])
    assert tuple(listed["shape"]) == SHAPE
    assert [image["label"] for image in listed["images"]] == LABELS.tolist()
    assert [b64decode(image["pixels"]) for image in listed["images"]] == [image.tobytes() for image in IMAGES]


def test_samples_that_do_not_fit(bundle: Path) -> None:
    with pytest.raises(DataError, match=r"must be uint8 images .* but got float64"):
        serve(bundle, port=0, samples=(IMAGES.astype(float), LABELS))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"must be uint8 images .* of shape \(3, 1, 6, 5\)"):
        serve(bundle, port=0, samples=(IMAGES[..., 1:], LABELS))
    with pytest.raises(DataError, match="labels of samples must be below 3"):
        serve(bundle, port=0, samples=(IMAGES, LABELS + 1))


def test_a_port_that_is_taken(server: DemoServer, bundle: Path) -> None:
    with pytest.raises(TargetError, match=r"the port must be free on 127.0.0.1, but \d+ is not"):
        serve(bundle, port=urlsplit(server.url).port or 0)
    with pytest.raises(TargetError, match="the port must be free"):
        serve(bundle, port=2**20)


def test_a_damaged_bundle(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    file = copy / Bundle.load(copy).models[0].segments[0].file
    with serve(copy, port=0) as server:
        sound = file.read_bytes()
        file.write_bytes(sound + b"more")
        answer, body = get(server, f"/bundle/{file.relative_to(copy).as_posix()}")
        assert answer.status == 500
        assert b"sha256" in body
        assert str(copy).encode() not in body
    with pytest.raises(BundleError, match="sha256"):
        serve(copy, port=0)
