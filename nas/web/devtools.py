"""A headless Chromium that is told what to do, to see that the page does what it should."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import weakref
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self, final

from nas.errors import TargetError
from nas.latency.browser import browser_command, end_browser, remove_profile

__all__ = ["DevTools"]

_TO_BROWSER, _FROM_BROWSER = 3, 4  # where Chromium looks for the pipes
_START = f"""
import fcntl, os, sys
pipes = [fcntl.fcntl(int(each), fcntl.F_DUPFD_CLOEXEC, 10) for each in sys.argv[1:3]]
for pipe, place in zip(pipes, ({_TO_BROWSER}, {_FROM_BROWSER})):
    os.dup2(pipe, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
_PATIENCE_S = 60.0
_LOOK_S = 0.05
_READ_BYTES = 2**16


@final
class DevTools:
    """One page in a browser of its own, over the DevTools protocol; as a context manager it ends both.

    `events` are what the browser told unasked, such as requests and messages on the console, in order.
    https://chromedevtools.github.io/devtools-protocol/
    """

    def __init__(self, *flags: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._unread = b""
        self._asked = 0
        self._session: str | None = None
        with ExitStack() as on_failure:
            self._to, self._from = self._start(flags, on_failure)
            self.close = weakref.finalize(self, on_failure.pop_all().close)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command; `TargetError` where the browser refuses it."""
        self._asked += 1
        message: dict[str, Any] = {"id": self._asked, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._to, rest) :]
        end = monotonic() + _PATIENCE_S
        while True:
            answer = self._read(end)
            if answer.get("id") != self._asked:
                self.events.append(answer)
            elif "error" in answer:
                raise TargetError(f"a browser must do {method}, but says: {answer['error'].get('message')}")
            else:
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, url: str) -> None:
        """Load a page, and forget what was told of the one before."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, or of the promise that it makes, as JSON carries it."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            thrown = found["exceptionDetails"]
            text = thrown.get("exception", {}).get("description", thrown["text"])
            raise TargetError(f"an expression must have a value in the page, but throws: {text}")
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 30.0) -> Any:
        """The value of an expression once it is true of the page."""
        end = monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if monotonic() > end:
                raise TargetError(f"a page must come to {expression} within {seconds:g} s, but did not")
            sleep(_LOOK_S)
        return value

    @property
    def complaints(self) -> list[str]:
        """What is on the console: errors that nobody caught, what a policy refused, all else."""
        kinds = "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    @property
    def requested(self) -> list[str]:
        """The addresses that were asked for since a page was opened."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent]

    def press(self, key: str, code: int) -> None:
        """Press and let go a key by its name and its number."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, width: int, height: int | None = None, scheme: str = "light") -> None:
        """A PNG of the page at a width in CSS pixels, by default all of its height."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self._resize(width, height or 900)
        sleep(0.5)  # for the page to lay itself out
        if height is None:
            self._resize(width, int(self.evaluate("document.documentElement.scrollHeight")))
        sleep(0.5)
        image = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(image))

    def _resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )

    @staticmethod
    def _start(flags: tuple[str, ...], at_end: ExitStack) -> tuple[int, int]:
        """The ends of the pipes to a browser with a fresh profile, that is removed after it has ended."""
        profile = Path(tempfile.mkdtemp(prefix="nas-dial-"))
        at_end.callback(remove_profile, profile)
        command = [part.format(profile=profile) for part in browser_command("chromium")]
        (its_in, to_browser), (from_browser, its_out) = os.pipe(), os.pipe()
        at_end.callback(os.close, to_browser)
        at_end.callback(os.close, from_browser)
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _START,
                f"{its_in}",
                f"{its_out}",
                *command,
                *flags,
                "--remote-debugging-pipe",
            ],
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        at_end.callback(end_browser, process)
        os.close(its_in)
        os.close(its_out)
        return to_browser, from_browser

    def _read(self, end: float) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._unread:
            ready = select.select([self._from], [], [], max(0.0, end - monotonic()))[0]
            part = os.read(self._from, _READ_BYTES) if ready else b""
            if not part:
                reason = "has ended" if ready else "is silent"
                raise TargetError(f"a browser must answer within {_PATIENCE_S:g} s, but {reason}; try again")
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message
