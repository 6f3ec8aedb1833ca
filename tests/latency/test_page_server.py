"""The page's server gives out its files, jobs and nothing else, and takes the result of the last job."""

import io
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse

import pytest

from nas.errors import TargetError
from nas.latency.page_server import PageServer
from nas.latency.protocol import Message, read_message

JOB = Message("time", {"models": 1}, (b"model",))


@pytest.fixture
def server() -> Iterator[PageServer]:
    server = PageServer({"index.html": b"<p>", "a.mjs": b"1", "a.wasm": b"\0"}, patience_s=1.0, opening_s=1.0)
    yield server
    server.close()


def place(server: PageServer) -> tuple[int, str]:
    port, _, path = server.path.removeprefix(":").partition("/")
    return int(port), f"/{path}"


def request(server: PageServer, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
    """The answer, read."""
    connection = HTTPConnection("127.0.0.1", place(server)[0], timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


def take(server: PageServer) -> Message:
    """What a page gets that asks for a job."""
    connection = HTTPConnection("127.0.0.1", place(server)[0], timeout=10)
    try:
        connection.request("GET", f"{place(server)[1]}job")
        return read_message(io.BytesIO(connection.getresponse().read()))
    finally:
        connection.close()


def hand_in(server: PageServer, result: object) -> int:
    return request(server, "POST", f"{place(server)[1]}result", json.dumps(result).encode()).status


def nothing() -> None:
    """A browser that is as it should be."""


@pytest.mark.parametrize(
    ("name", "kind"), [("", "text/html"), ("a.mjs", "text/javascript"), ("a.wasm", "application/wasm")]
)
def test_files_come_isolated_from_other_origins(server: PageServer, name: str, kind: str) -> None:
    response = request(server, "GET", place(server)[1] + name)
    assert response.status == 200
    assert response.headers["Content-Type"] == kind
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_everything_else_is_not_found(server: PageServer) -> None:
    _, prefix = place(server)
    wrong = f"/{'a' * (len(prefix) - 2)}/"
    for path in ("/", "/job", "/a.mjs", prefix[:-1], f"{prefix}b", f"{prefix}../a.mjs", wrong, f"{wrong}job"):
        assert request(server, "GET", path).status == 404
    for path in ("/result", f"{wrong}result", f"{prefix}job"):
        assert request(server, "POST", path, b"{}").status == 404


def test_results_that_are_none(server: PageServer) -> None:
    _, prefix = place(server)
    for body in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        assert request(server, "POST", f"{prefix}result", body).status == 400


@pytest.mark.parametrize(("length", "status"), [("1000000000000", b"413"), ("-1", b"411"), ("x", b"411")])
def test_a_body_is_measured_before_it_is_read(server: PageServer, length: str, status: bytes) -> None:
    port, prefix = place(server)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(f"POST {prefix}result HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
        assert stream.makefile("rb").read().split()[1] == status


def test_a_job_is_done(server: PageServer) -> None:
    with ThreadPoolExecutor() as pool:
        for text in ("first", "second"):
            asked = pool.submit(server.ask, JOB, seconds=1.0, check=nothing)
            job = take(server)
            assert (job.kind, job.fields["models"], job.payloads) == ("time", 1, (b"model",))
            number = job.fields["number"]
            assert hand_in(server, {"number": number - 1, "text": "of a job given up"}) == 204
            assert hand_in(server, {"number": number, "text": text}) == 204
            assert asked.result() == {"number": number, "text": text}


def test_a_page_that_left_gets_no_job(server: PageServer) -> None:
    port, prefix = place(server)
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(f"GET {prefix}job HTTP/1.1\r\n\r\n".encode())
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(server.ask, JOB, seconds=1.0, check=nothing)
        hand_in(server, {"number": take(server).fields["number"]})
        assert asked.result()


def test_no_page_comes_or_comes_back(server: PageServer) -> None:
    with pytest.raises(TargetError, match="must answer within 1 s, but did not; keep it open"):
        server.ask(JOB, seconds=1.0, check=nothing)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(server.ask, JOB, seconds=1.0, check=nothing)
        take(server)
        with pytest.raises(TargetError, match="must answer within 2 s"):
            asked.result()


def test_a_browser_that_ended(server: PageServer) -> None:
    def check() -> None:
        raise TargetError("the browser has ended")

    with pytest.raises(TargetError, match="has ended"):
        server.ask(JOB, seconds=60.0, check=check)


def test_closed_it_answers_nobody() -> None:
    server = PageServer({"index.html": b"<p>"})
    server.close()
    with pytest.raises(ConnectionError):
        request(server, "GET", place(server)[1])
