"""One live line on stderr, if that is a terminal; nothing at all otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO, final

__all__ = ["LiveLine", "duration"]


@final
class LiveLine:
    """A context in which `show` replaces the line shown before; it is wiped at the end."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._clock = clock
        self._start_s = clock()

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._start_s

    def show(self, text: str, done: int, total: int) -> None:
        """Show how far the work is, what `text` says of it, and the time taken and left."""
        left_s = self.elapsed_s / done * (total - done) if done else None
        left = "" if left_s is None else f", {duration(left_s)} left"
        self._write(f"{done}/{total}  {text}  {duration(self.elapsed_s)}{left}")

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text}")  # back to the start, wipe to the end
            self._stream.flush()


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> duration(75), duration(3675)
    ('1:15', '1:01:15')
    """
    minutes, whole_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_s:02}" if hours else f"{minutes}:{whole_s:02}"
