"""Serves the page, one bundle and onnxruntime-web to a browser, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path, PurePosixPath
from threading import Thread
from types import MappingProxyType
from typing import Any, Self, final
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Bundle
from nas.errors import BundleError, DataError, TargetError
from nas.latency import onnxruntime_web
from nas.latency.page_server import HEADERS, TYPES

__all__ = ["DemoServer", "Samples", "serve"]

Samples = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Raw images (N, C, H, W) and their labels (N,)."""
Route = tuple[str, Callable[[], bytes]]
"""The type of what is sent, and where it comes from."""

PAGE = (
    "adaptive.js",
    "battery.js",
    "bundle.js",
    "chart.js",
    "draw.js",
    "governor.js",
    "index.html",
    "page.css",
    "page.js",
    "passage.js",
    "policies.js",
    "policy.js",
    "view.js",
)
_BUNDLE, _RUNTIME = "bundle/", "ort/"
_IDLE_S = 60.0
_GLANCE_S = 0.2
_POLICY = (
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "media-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
_SENT = MappingProxyType(
    {
        **HEADERS,
        "Content-Security-Policy": "; ".join(_POLICY),
        "Permissions-Policy": "camera=(self)",
        "Referrer-Policy": "no-referrer",
    }
)
_KINDS = MappingProxyType({**TYPES, ".css": "text/css", ".json": "application/json", ".txt": "text/plain"})


def serve(
    bundle: str | Path, *, port: int, host: str = "127.0.0.1", samples: Samples | None = None
) -> DemoServer:
    """A server that runs until it is closed, with the page for a bundle, a folder or a zip; port 0 is any.

    `samples` are images that the page offers. A file of the bundle is checked against its hash whenever it is
    sent; of the bundle only its index and its networks are. `BundleError` where the bundle is damaged,
    `TargetError` where the port is taken or onnxruntime-web is not to be had.
    """
    loaded = Bundle.load(bundle)
    routes = {**_page_routes(), **_bundle_routes(loaded)}
    routes["samples.json"] = _route("samples.json", _samples_json(loaded, samples))
    return DemoServer(routes, host, port)


@final
class DemoServer:
    """A running web server; as a context manager it closes itself."""

    def __init__(self, routes: Mapping[str, Route], host: str, port: int) -> None:
        by_path = {f"/{name.removesuffix('index.html')}": route for name, route in routes.items()}
        try:
            self._server = ThreadingHTTPServer((host, port), partial(_Handler, routes=by_path))
        except (OSError, OverflowError) as error:
            rule = f"the port must be free on {host}"
            raise TargetError(f"{rule}, but {port} is not: {error}; choose another, or 0 for any") from error
        self.url = f"http://{host}:{self._server.server_port}/"
        self._thread = Thread(target=self._server.serve_forever, args=(_GLANCE_S,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait(self) -> None:
        """Until somebody closes the server."""
        self._thread.join()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _route(name: str, content: bytes) -> Route:
    return name, lambda: content


def _page_routes() -> dict[str, Route]:
    page, runtime = files("nas.web"), onnxruntime_web.find_folder()
    routes = {name: _route(name, (page / name).read_bytes()) for name in PAGE}
    for name in onnxruntime_web.FILES:
        routes[_RUNTIME + name] = name, (runtime / name).read_bytes
    return routes


def _bundle_routes(bundle: Bundle) -> dict[str, Route]:
    index = json.dumps(bundle.to_json(), allow_nan=False).encode()
    networks = {
        _BUNDLE + segment.file: (segment.file, partial(bundle.read, segment))
        for model in bundle.models
        for segment in model.files
    }
    return {**networks, f"{_BUNDLE}bundle.json": _route("bundle.json", index)}


def _samples_json(bundle: Bundle, samples: Samples | None) -> bytes:
    images, labels = samples or (np.zeros((0, *bundle.input_shape), np.uint8), np.zeros(0, np.int64))
    if images.dtype != np.uint8 or images.shape[1:] != bundle.input_shape or len(images) != len(labels):
        rule = f"samples must be uint8 images of shape (N, *{bundle.input_shape}) with N labels"
        got = f"{images.dtype} of shape {images.shape} with {len(labels)}"
        raise DataError(f"{rule}, but got {got}; give data that the bundle was trained for")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(bundle.classes):
        rule = f"labels of samples must be below {len(bundle.classes)}, the number of classes"
        raise DataError(f"{rule}, but got {labels.max()}; give data that the bundle was trained for")
    listed = [
        {"pixels": base64.b64encode(image.tobytes()).decode(), "label": int(label)}
        for image, label in zip(images, labels, strict=True)
    ]
    return json.dumps({"shape": bundle.input_shape, "images": listed}).encode()


@final
class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def __init__(self, *request: Any, routes: Mapping[str, Route]) -> None:
        self._routes = routes
        super().__init__(*request)

    def handle(self) -> None:
        with suppress(OSError):  # browsers leave as they like
            super().handle()

    def do_GET(self) -> None:
        """Only names that are known: a path is looked up and never joined to a folder."""
        route = self._routes.get(unquote(urlsplit(self.path).path))
        if route is None:
            self._send(HTTPStatus.NOT_FOUND)
            return
        name, read = route
        try:
            body = read()
        except (BundleError, OSError) as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode(), "error.txt")
        else:
            self._send(HTTPStatus.OK, body, name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself: other methods, and what is no HTTP."""
        self.close_connection = True  # whatever of a body is not read must not be taken for a request
        other_method = code == HTTPStatus.NOT_IMPLEMENTED
        self._send(HTTPStatus.METHOD_NOT_ALLOWED if other_method else HTTPStatus(code))

    def _send(self, status: HTTPStatus, body: bytes = b"", name: str = "none.txt") -> None:
        kind = _KINDS.get(PurePosixPath(name).suffix, "application/octet-stream")
        self.send_response(status)
        for header, value in _SENT.items():
            self.send_header(header, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a library does not print."""
