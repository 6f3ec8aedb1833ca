"""A study's folder: its settings, and its trials in a journal that Optuna reads, one line and one write each.

study.json      settings
study.journal   Optuna's journal; a line that a crash has torn is dropped
study.lock      held by the process that searches; the system frees it when that process ends, however
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, final

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from nas.errors import StudyError
from nas.files import save_json
from nas.search.record import Settings, StudyRecord
from nas.search.trial import Trial

__all__ = ["JournalFile", "check_folder", "open_study", "quiet_optuna", "read_study", "read_trials"]


@final
class JournalFile(BaseJournalBackend):
    """Lines of JSON in a file, each written at once and flushed to the disk.

    Optuna's own file backend fails for good after a torn line, and can leave a lock behind that stops the
    next process. Whoever appends must hold the folder's lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
        with self.path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def drop_torn_line(self) -> None:
        """Cut off what follows the last complete line."""
        with self.path.open("ab+") as file:
            file.seek(0)
            text = file.read()
            file.truncate(text.rfind(b"\n") + 1)

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


@contextmanager
def open_study(folder: Path, settings: Settings) -> Iterator[optuna.Study]:
    """The stored Optuna study of a folder, made if need be; nobody else can search there meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "study.lock").open("a+")
    except OSError as error:
        raise StudyError(f"a study must be able to write to its folder, but {error}; use another") from None
    with lock:
        _acquire(lock, folder)
        if not check_folder(folder, settings):
            save_json(folder / "study.json", settings.to_json() | {"versions": _versions()})
        journal = JournalFile(folder / "study.journal")
        journal.drop_torn_line()
        study = _load(journal, settings)
        if study is None:
            storage = JournalStorage(journal)
            directions = [objective.direction for objective in settings.objectives]
            with quiet_optuna():
                study = optuna.create_study(storage=storage, study_name=settings.space, directions=directions)
                study.set_metric_names([objective.metric for objective in settings.objectives])
        yield study


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
    study = _load(JournalFile(path), settings) if path.exists() else None
    return StudyRecord(settings, tuple(read_trials(study)) if study else ())


def read_trials(study: optuna.Study) -> list[Trial]:
    """All trials of a stored study; `StudyError` where some are lost."""
    trials = [Trial.from_json(stored.user_attrs) for stored in study.get_trials(deepcopy=False)]
    for place, trial in enumerate(trials):
        if trial.number != place:
            raise StudyError(
                f"trials of {study.study_name} must be stored without gaps, "
                f"but in place of trial {place} is trial {trial.number}; restore study.journal from a copy"
            )
    return trials


def _load(journal: JournalFile, settings: Settings) -> optuna.Study | None:
    """The stored study; None where a crash came before it was made."""
    try:
        storage = JournalStorage(journal)
    except (KeyError, TypeError) as error:
        raise StudyError(
            f"{journal.path} must be as Optuna writes it, but is damaged: {error!r}; restore it from a copy"
        ) from None
    if journal.is_empty:
        return None
    if settings.space not in optuna.get_all_study_names(storage):
        raise StudyError(
            f"{journal.path} must hold the study {settings.space}, but does not; restore it from a copy"
        )
    with quiet_optuna():
        return optuna.load_study(study_name=settings.space, storage=storage)


def _acquire(lock: IO[str], folder: Path) -> None:
    """Lock the open file and write the process id into it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise StudyError(
            f"a folder must be searched by one process at a time, but {folder} is in use by process "
            f"{lock.read()}; wait until it ends, or use another folder"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


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


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "optuna": optuna.__version__}
    with suppress(PackageNotFoundError):  # run from a checkout that is not installed
        versions["nas-dial"] = version("nas-dial")
    return versions


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
