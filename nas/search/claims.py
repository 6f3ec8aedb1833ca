"""Networks that are being evaluated: for each a file that its worker holds locked.

The system frees the locks of a process when that ends, however it ends. So whether a worker is dead need
not be guessed from its silence, and what it left unfinished is taken over by the next one. Processes that an
evaluation forks let go of the locks at once: they may outlive the worker.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, final
from weakref import WeakMethod

from nas.errors import StudyError

__all__ = ["Claims", "Left"]


@final
class Left(NamedTuple):
    """What a worker that has ended left: what it had claimed, and what it found, if it came that far."""

    claim: dict[str, Any]
    result: dict[str, Any] | None


@final
class Claims:
    """The numbered claims in a folder.

    Who does not hold the study's lock may only `finish` and `leave` its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, IO[str]] = {}
        os.register_at_fork(after_in_child=partial(_let_go, WeakMethod(self._forget)))

    def take(self, number: int, claim: Mapping[str, Any]) -> None:
        """Claim what is new, or what a worker that has ended had claimed."""
        try:
            self._folder.mkdir(exist_ok=True)
            part = self._path(number).with_suffix(".part")
            self._held[number] = part.open("w")
            fcntl.flock(self._held[number], fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.finish(number, claim)
            part.replace(self._path(number))
        except OSError as error:
            self.leave(number)
            raise StudyError(
                f"a study must be able to write to its folder, but {error}; nothing stored before is lost: "
                "make room, and search in this folder again"
            ) from None

    def finish(self, number: int, result: Mapping[str, Any]) -> None:
        """Write down what was found, for the case that this worker ends before it is stored."""
        if not self.holds(number):
            raise StudyError(
                f"a network must be told once, by who asked it, but {number} is not claimed here; ask again"
            )
        self._held[number].write(json.dumps(result) + "\n")
        self._held[number].flush()

    def remove(self, number: int) -> None:
        """Remove a claim of this worker, or of one that has ended."""
        self._path(number).unlink(missing_ok=True)
        self.leave(number)

    def leave(self, number: int) -> None:
        """Go on as if this worker had ended: whoever comes next takes over a claim of it, and its result."""
        file = self._held.pop(number, None)
        if file is not None:
            with suppress(OSError):  # what it could not write before
                file.close()

    def _forget(self) -> None:
        """In a process that was forked: close what only the parent holds, which does not unlock it there."""
        for number in tuple(self._held):
            self.leave(number)

    def holds(self, number: int) -> bool:
        """Whether this worker has that claim."""
        return number in self._held

    @property
    def held(self) -> bool:
        """Whether this worker has any."""
        return bool(self._held)

    def running(self) -> dict[int, dict[str, Any]]:
        """What is claimed by workers that go on, this one among them."""
        return {number: left.claim for number, left, held in self._all() if held}

    def abandoned(self) -> dict[int, Left]:
        """What workers that have ended left."""
        return {number: left for number, left, held in self._all() if not held}

    def _all(self) -> Iterator[tuple[int, Left, bool]]:
        for path in self._folder.glob("*.part"):  # of a worker that was killed while it took a claim
            path.unlink()
        for path in sorted(self._folder.glob("[0-9]*.json")):
            with path.open() as file:
                held = _is_locked(file)
                whole = [json.loads(line) for line in file if line.endswith("\n")]
            if whole:
                yield int(path.stem), Left(whole[0], whole[1] if len(whole) > 1 else None), held
            else:  # its worker was killed before it had said what it claimed
                path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06}.json"


def _let_go(forget: WeakMethod[Callable[[], None]]) -> None:
    method = forget()
    if method is not None:
        method()


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False  # closing it frees the lock
