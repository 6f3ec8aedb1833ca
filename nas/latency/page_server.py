"""Serves a measuring page to a browser, gives it jobs and takes its results."""

from __future__ import annotations

import io
import json
import secrets
import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Condition, Thread
from time import monotonic
from types import MappingProxyType
from typing import Any, final

from nas.errors import TargetError
from nas.latency.protocol import Message, write_message

__all__ = ["HEADERS", "TYPES", "PageServer"]

_POLL_S = 10.0  # less than what networks and browsers wait for an answer
_GLANCE_S = 0.2
_IDLE_S = 60.0
_RESULT_BYTES = 64 * 2**20  # some minutes of the shortest passes
HEADERS = MappingProxyType(
    {
        # Isolated from other origins, a page may share memory between threads and read a fine clock.
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
)
TYPES = MappingProxyType(
    {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
)


@final
class PageServer:
    """A web server for one page, under a path that nobody guesses.

    The page asks for GET job until it is given one (a message of `nas.latency.protocol`), and sends its
    result as JSON to POST result.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        host: str = "127.0.0.1",
        *,
        patience_s: float = 30.0,
        opening_s: float = 30.0,
    ) -> None:
        """Serve these files by name, index.html as the folder itself, on a free port.

        The first job waits `opening_s` for the page to be opened.
        """
        self._desk = _Desk(patience_s, opening_s)
        prefix = f"/{secrets.token_urlsafe(16)}/"
        routes = {prefix + name.removesuffix("index.html"): (name, data) for name, data in files.items()}
        handler = partial(_Handler, prefix=prefix, routes=routes, desk=self._desk)
        self._server = ThreadingHTTPServer((host, 0), handler)
        self.path = f":{self._server.server_port}{prefix}"
        """What follows the host in the page's address."""
        Thread(target=self._server.serve_forever, args=(_GLANCE_S,), daemon=True).start()

    def ask(self, job: Message, *, seconds: float, check: Callable[[], None]) -> Mapping[str, Any]:
        """What the page answers to a job that lasts so many seconds.

        `TargetError` where no page comes for the job within `patience_s` (the first within `opening_s`),
        or back from it within as much more; and what `check` raises, which is called now and then.
        """
        return self._desk.ask(job, seconds, check)

    def close(self) -> None:
        self._desk.close()
        self._server.shutdown()
        self._server.server_close()


@final
class _Desk:
    """Where one job at a time waits for the page, and its result for the program."""

    def __init__(self, patience_s: float, opening_s: float) -> None:
        self._patience_s = patience_s
        self._coming_s = opening_s
        self._change = Condition()
        self._closed = False
        self._number = 0
        self._job: bytes | None = None
        self._result: Mapping[str, Any] | None = None

    def ask(self, job: Message, seconds: float, check: Callable[[], None]) -> Mapping[str, Any]:
        with self._change:
            self._number += 1
            body = io.BytesIO()
            write_message(body, replace(job, fields={**job.fields, "number": self._number}))
            self._job, self._result = body.getvalue(), None
            self._change.notify_all()
            try:
                self._wait(lambda: self._job is None, self._coming_s, check)
                self._coming_s = self._patience_s
                self._wait(lambda: self._result is not None, seconds + self._patience_s, check)
                assert self._result is not None
                return self._result
            finally:
                self._job = None
                self._number += 1  # a result that still comes is nobody's

    def _wait(self, happened: Callable[[], bool], limit_s: float, check: Callable[[], None]) -> None:
        end = monotonic() + limit_s
        while not self._change.wait_for(happened, _GLANCE_S):
            check()
            if monotonic() > end:
                rule = f"a page in the browser must answer within {limit_s:.0f} s"
                raise TargetError(f"{rule}, but did not; keep it open, in front, or measure less at once")

    def take(self, is_gone: Callable[[], bool]) -> bytes | None:
        """The job that waits or comes soon; it stays where the page has gone meanwhile."""
        end = monotonic() + _POLL_S
        with self._change:
            while not self._closed and monotonic() < end and not is_gone():
                if self._job is not None:
                    job, self._job = self._job, None
                    self._change.notify_all()
                    return job
                self._change.wait(_GLANCE_S)
        return None

    def hand_in(self, result: Any) -> None:
        """`ValueError` where it is no result."""
        if not isinstance(result, dict):
            raise ValueError("a result must be an object")
        with self._change:
            if result.get("number") == self._number:
                self._result = result
                self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()


@final
class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S

    def __init__(
        self, *request: Any, prefix: str, routes: Mapping[str, tuple[str, bytes]], desk: _Desk
    ) -> None:
        self._prefix = prefix
        self._routes = routes
        self._desk = desk
        super().__init__(*request)

    def handle(self) -> None:
        with suppress(OSError):  # browsers leave as they like
            super().handle()

    def do_GET(self) -> None:
        if self.path == f"{self._prefix}job":
            job = self._desk.take(self._is_gone)
            self._send(HTTPStatus.NO_CONTENT if job is None else HTTPStatus.OK, job or b"")
        elif self.path in self._routes:
            name, data = self._routes[self.path]
            self._send(HTTPStatus.OK, data, name)
        else:
            self._send(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        self.close_connection = True  # whatever of the body is not read must not be taken for a request
        if self.path != f"{self._prefix}result":
            self._send(HTTPStatus.NOT_FOUND)
        elif not length.isdecimal():
            self._send(HTTPStatus.LENGTH_REQUIRED)
        elif int(length) > _RESULT_BYTES:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            try:
                self._desk.hand_in(json.loads(self.rfile.read(int(length))))
            except (ValueError, RecursionError):
                self._send(HTTPStatus.BAD_REQUEST)
            else:
                self._send(HTTPStatus.NO_CONTENT)

    def _send(self, status: HTTPStatus, body: bytes = b"", name: str = "") -> None:
        self.send_response(status)
        for header, value in HEADERS.items():
            self.send_header(header, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header(
                "Content-Type", TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
            )
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _is_gone(self) -> bool:
        """A page that waits for an answer sends nothing; there is something to read once it has left."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a library does not print."""
