"""One live line on stderr, if that is a terminal; nothing at all otherwise."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO, final

__all__ = ["LiveLine", "duration"]


@final
class LiveLine:
    """A context in which a line of text replaces the one before; it is wiped at the end."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._clock = clock
        self._start_s = clock()
        self._start_done: int | None = None

    def count(self, done: int, total: int, text: str) -> None:
        """Show how far the work is, what `text` says of it, and the time taken and left.

        What was done at the first call was done before, hence tells nothing of the speed.
        """
        if self._start_done is None:
            self._start_done = done
        elapsed_s, fresh = self._clock() - self._start_s, done - self._start_done
        left = f", {duration(elapsed_s / fresh * (total - done))} left" if fresh else ""
        self.show(f"{done}/{total}  {text}  {duration(elapsed_s)}{left}")

    def show(self, text: str) -> None:
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text[:width]}")  # back to the start, wipe to the end
            self._stream.flush()

    def __enter__(self) -> LiveLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show("")


def duration(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any.

    >>> duration(75), duration(3675)
    ('1:15', '1:01:15')
    """
    minutes, whole_s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_s:02}" if hours else f"{minutes}:{whole_s:02}"
