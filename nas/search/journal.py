"""A study's folder: its settings, and its trials in a journal that Optuna reads, one line and one write each.

study.json      settings, and what else decides what a search finds: versions, how costs are counted, …
study.journal   Optuna's journal; a line that a crash has torn is dropped
study.lock      held while a process proposes or writes; the system frees it when that process ends, however
running/        a file for each network being evaluated, which its worker holds locked
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from threading import Lock, Thread
from typing import Any, final

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial

from nas.errors import StudyError
from nas.search.record import Settings, StudyRecord
from nas.search.trial import Trial

__all__ = [
    "JournalFile",
    "check_folder",
    "load_study",
    "open_storage",
    "quiet_optuna",
    "read_study",
    "read_trials",
]


@final
class JournalFile(BaseJournalBackend):
    """Lines of JSON in a file, each written at once, so that no end of the process can lose it.

    Optuna's own file backend fails for good after a torn line, and can leave a lock behind that stops the
    next process. Whoever appends must hold the folder's lock. That lines are on the disk, hence survive an
    end of the machine, is not waited for: it takes longer than all else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._flusher = _Flusher(path)
        self._read = 0
        self._offset = 0

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        if log_number_from != self._read:
            self._read = self._offset = 0
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                self._read += 1
                if self._read > log_number_from:
                    yield self._parse(line)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with self.path.open("ab+", buffering=0) as file:
                end = _drop_torn_line(file)
                try:
                    _write(file, text.encode())
                except OSError:
                    file.truncate(end)
                    raise
            self._flusher.flush()
        except OSError as error:
            raise StudyError(
                f"a study must be able to write to its journal, but {error}; nothing stored before is lost: "
                "make room, and search in this folder again"
            ) from None

    def close(self) -> None:
        """Wait until all is on the disk, and raise what went wrong on the way."""
        try:
            self._flusher.close()
        except OSError as error:
            raise StudyError(
                f"a study's journal must reach the disk, but {error}; check the disk, and search in this "
                "folder again"
            ) from None

    @property
    def is_empty(self) -> bool:
        """Whether no complete line was found when it was last read."""
        return not self._offset

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):
            raise StudyError(
                f"{self.path} must hold one JSON object per line, but line {self._read} is damaged; "
                "restore it from a copy"
            ) from None


@final
class _Flusher:
    """Brings what was written to a file onto the disk, in a thread of its own while there is any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._wanted = self._running = False
        self._thread: Thread | None = None
        self._error: OSError | None = None

    def flush(self) -> None:
        """Begin to; raises what went wrong the last time."""
        with self._lock:
            self._wanted = True
            if not self._running:
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()
                self._running = True
        self._raise()

    def close(self) -> None:
        """Wait for the end of it; raises what went wrong."""
        if self._thread is not None:
            self._thread.join()
        self._raise()

    def _raise(self) -> None:
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._running = False
                    return
                self._wanted = False
            try:
                with self._path.open("rb") as file:
                    os.fsync(file.fileno())
            except OSError as error:
                with self._lock:
                    self._error = error


def _write(file: RawIOBase, data: bytes) -> None:
    """Write all of it: a file without buffer may take a part only, and says what is wrong at the next."""
    while data:
        data = data[file.write(data) or 0 :]


def _drop_torn_line(file: RawIOBase) -> int:
    """Cut off what follows the last complete line; the file's size then."""
    end = size = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        line_end = (file.read(end - start) or b"").rfind(b"\n") + 1
        if line_end:
            end = start + line_end
            break
        end = start
    if end < size:
        file.truncate(end)
    return end


def check_folder(folder: Path, settings: Settings) -> bool:
    """Whether the folder holds this study already; an error if it holds another one."""
    if not (folder / "study.json").exists():
        return False
    stored, given = vars(_read_settings(folder)), vars(settings)
    for name, value in stored.items():
        if given[name] != value:
            raise StudyError(
                f"a study must continue as it was begun, but in {folder} its {name} is {value!r} "
                f"and not {given[name]!r}; use another folder"
            )
    return True


def read_study(folder: str | Path) -> StudyRecord:
    """What a folder holds so far. It may be in use."""
    folder = Path(folder)
    settings = _read_settings(folder)
    path = folder / "study.journal"
    journal = JournalFile(path)
    storage = open_storage(journal) if path.exists() else None
    if storage is None or load_study(storage, journal, settings) is None:
        return StudyRecord(settings, ())
    return StudyRecord(settings, tuple(trial for trial, _ in read_trials(storage, settings.space)))


def read_trials(storage: JournalStorage, name: str, start: int = 0) -> list[tuple[Trial, FrozenTrial]]:
    """Stored trials from this place on, also as Optuna has them; `StudyError` if some are lost."""
    stored = _stored(storage, storage.get_study_id_from_name(name), start)
    found = [(Trial.from_json(each.user_attrs), each) for each in stored]
    for place, (trial, _) in enumerate(found, start):
        if trial.number != place:
            raise StudyError(
                f"trials of {name} must be stored without gaps, "
                f"but in place of trial {place} is trial {trial.number}; restore study.journal from a copy"
            )
    return found


def _stored(storage: JournalStorage, study_id: int, start: int) -> list[FrozenTrial]:
    """Trials from a place on; those before are not gone through again, as there may be thousands."""
    if start == 0:
        return storage.get_all_trials(study_id, deepcopy=False)
    found: list[FrozenTrial] = []
    while True:
        try:
            id = storage.get_trial_id_from_study_id_trial_number(study_id, start + len(found))
        except KeyError:
            return found
        found.append(storage.get_trial(id))


def open_storage(journal: JournalFile) -> JournalStorage:
    """Optuna's view of a journal; `StudyError` if that is damaged."""
    try:
        return JournalStorage(journal)
    except (KeyError, TypeError) as error:
        raise StudyError(
            f"{journal.path} must be as Optuna writes it, but is damaged: {error!r}; restore it from a copy"
        ) from None


def load_study(storage: JournalStorage, journal: JournalFile, settings: Settings) -> optuna.Study | None:
    """The stored study; None where a crash came before it was made."""
    if journal.is_empty:
        return None
    if settings.space not in optuna.get_all_study_names(storage):
        raise StudyError(
            f"{journal.path} must hold the study {settings.space}, but does not; restore it from a copy"
        )
    with quiet_optuna():
        return optuna.load_study(study_name=settings.space, storage=storage)


def _read_settings(folder: Path) -> Settings:
    path = folder / "study.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(
            f"a study's folder must hold study.json, but {folder} does not; check the path"
        ) from None
    except ValueError:
        raise StudyError(f"{path} must be JSON, but it is damaged; restore it from a copy") from None
    return Settings.from_json(values)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's notices of studies made and of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
