"""Time networks in a browser, in onnxruntime-web: one started here without a window, or a phone's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.resources import files
from pathlib import Path
from threading import Lock
from time import sleep
from types import MappingProxyType
from typing import Any, Self, final

from nas.errors import TargetError
from nas.latency import onnxruntime_web
from nas.latency.chip import chip_name
from nas.latency.local import reference_model
from nas.latency.page_server import PageServer
from nas.latency.protocol import Message, describe_arrays
from nas.latency.target import Inputs, Target
from nas.latency.timing import Timing

__all__ = ["BrowserTarget", "browser_command", "end_browser", "remove_profile"]

_OPEN = "open"
_CHROMIUM = (
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_COMMANDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "chromium": (*_CHROMIUM, "--user-data-dir={profile}"),
        "google-chrome": (*_CHROMIUM, "--user-data-dir={profile}"),
        "firefox": ("--headless", "--no-remote", "--profile", "{profile}"),
    }
)
_BY_HAND_S = 600.0  # for a person to type an address into a phone
_START_S = 30.0
_END_S = 5.0
_REASON_LETTERS = 300


@final
class BrowserTarget(Target):
    """A browser on this machine, started without a window when it is first needed; or a page to be opened.

    With the browser `open` none is started: whoever opens `url` on a device of the same network makes that
    one the target. `TargetError` where the browser or the page ends during a measurement; the next starts it
    again. As a context manager, or when forgotten, it closes what it started.
    """

    def __init__(self, browser: str = "chromium", threads: int = 1) -> None:
        if browser not in (*_COMMANDS, _OPEN):
            rule = f"a browser must be {', '.join(_COMMANDS)} or {_OPEN}"
            raise TargetError(f"{rule}, but got {browser!r}; name one of these")
        if threads < 1:
            raise TargetError(f"threads must be at least 1, but got {threads}; give a number of cores")
        self.browser = browser
        self.threads = threads
        self._identity = ""
        self._floor_s: float | None = None
        self._visit: _Visit | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and the server; the next measurement starts them again."""
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.close()

    @property
    def url(self) -> str:
        """The address of the page, served from now on."""
        if (visit := self._visit) is not None:
            return visit.url  # without the lock, that a measurement holds which waits for the page
        with self._lock:
            return self._open().url

    @property
    def identity(self) -> str:
        with self._lock:
            if not self._identity:
                self._ask(Message("identity", {"threads": self.threads, "models": 0}), seconds=0.0)
            return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        specs, arrays = describe_arrays(inputs)
        fields = {"threads": self.threads, "models": len(models), "inputs": specs, "seconds": seconds}
        with self._lock:
            job = Message("time", {**fields, "floor_s": self._floor_s}, (*models, *arrays))
            answer = self._ask(job, seconds=seconds)
            if "error" in answer:
                reason = (str(answer["error"]).splitlines() or ["no reason"])[0][:_REASON_LETTERS]
                raise TargetError(
                    f"a model must run in {self._identity} on the inputs given, but got: {reason}; write "
                    "both for one graph"
                )
            try:
                timing = Timing.from_json({**answer["timing"], "target": self._identity})
                if timing.rounds[0].shape[1] != len(models):
                    raise ValueError("times of another number of models")
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                rule = "the page must answer with the times of each model"
                raise TargetError(f"{rule}, but did not: {error!r}; load it again") from error
            self._floor_s = timing.floor_s
        return timing

    def _open(self) -> _Visit:
        if self._visit is None:
            self._visit = _Visit(self.browser)
        return self._visit

    def _ask(self, job: Message, *, seconds: float) -> Mapping[str, Any]:
        visit = self._open()
        try:
            answer = visit.server.ask(job, seconds=seconds, check=visit.check)
        except TargetError as error:
            if self.browser != _OPEN:
                self.close()
                raise
            raise TargetError(f"{error} (the page is {visit.url})") from error
        self._recognize(answer)
        return answer

    def _recognize(self, answer: Mapping[str, Any]) -> None:
        """See that the page is the one that it was before, and can use the threads."""
        if self.threads > 1 and answer.get("isolated") is not True:
            rule = "threads must be 1 in a page from another machine over plain http"
            raise TargetError(f"{rule}, but got {self.threads}; ask for 1, or forward the port to localhost")
        parts = [str(answer.get(part)) for part in ("machine", "browser", "runtime")]
        chip = () if self.browser == _OPEN else (chip_name(),)
        identity = ", ".join((*chip, *parts, f"threads {self.threads}"))
        if self._identity not in ("", identity):
            rule = f"the page must stay in the browser in which it was ({self._identity})"
            raise TargetError(f"{rule}, but is now in: {identity}; begin again with a new target")
        self._identity = identity


@final
class _Visit:
    """A server and the browser that is on its page; both are closed when it is forgotten."""

    def __init__(self, browser: str) -> None:
        command = () if browser == _OPEN else browser_command(browser)
        host = "" if browser == _OPEN else "127.0.0.1"
        with ExitStack() as on_failure:
            opening_s = _BY_HAND_S if browser == _OPEN else _START_S
            self.server = PageServer(_page_files(), host, opening_s=opening_s)
            on_failure.callback(self.server.close)
            self.url = f"http://{host or _address()}{self.server.path}"
            self._process = _start(command, self.url, on_failure) if command else None
            self.close = weakref.finalize(self, on_failure.pop_all().close)

    def check(self) -> None:
        """`TargetError` where the browser has ended."""
        if self._process is not None and (code := self._process.poll()) is not None:
            rule = "the browser must stay open until a measurement ends"
            raise TargetError(f"{rule}, but ended with exit code {code}; try again, or start it by hand")


def browser_command(browser: str) -> tuple[str, ...]:
    """The program of a browser with what it needs to run unseen; `{profile}` is for a folder of its own."""
    program = shutil.which(browser)
    if program is None:
        rule = f"{browser} must be installed"
        raise TargetError(f"{rule}, but is not on PATH; install it, or name another browser")
    is_root = os.name == "posix" and os.geteuid() == 0
    unconfined = ("--no-sandbox",) if is_root and browser != "firefox" else ()  # else it refuses root
    return (program, *_COMMANDS[browser], *unconfined)


def _start(command: Sequence[str], url: str, at_end: ExitStack) -> subprocess.Popen[bytes]:
    """Open the page in a browser with a fresh profile, that is removed after the browser has ended."""
    profile = Path(tempfile.mkdtemp(prefix="nas-dial-"))
    at_end.callback(remove_profile, profile)
    process = subprocess.Popen(
        [*(part.format(profile=profile) for part in command), url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    at_end.callback(end_browser, process)
    return process


def end_browser(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and make it where it does not."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def remove_profile(profile: Path) -> None:
    """Processes of the browser may outlive it by a moment and still write."""
    for _ in range(10):
        with suppress(OSError):
            shutil.rmtree(profile)
        if not profile.exists():
            return
        sleep(_END_S / 10)


def _page_files() -> dict[str, bytes]:
    page, runtime = files("nas.latency") / "page", onnxruntime_web.find_folder()
    return {
        **{name: (page / name).read_bytes() for name in ("index.html", "measure.js")},
        **{name: (runtime / name).read_bytes() for name in onnxruntime_web.FILES},
        "reference.onnx": reference_model(),
    }


def _address() -> str:
    """The address of this machine on its network; a datagram's socket knows it before anything is sent."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # no such machine
        return str(probe.getsockname()[0])
    return socket.gethostname()
