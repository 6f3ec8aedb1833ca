"""The folder of a study as one of the processes that search in it sees it."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, final

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial

from nas.errors import StudyError
from nas.files import save_json
from nas.search.claims import Claims
from nas.search.journal import (
    JournalFile,
    check_folder,
    load_study,
    open_storage,
    quiet_optuna,
    read_trials,
)
from nas.search.record import Settings
from nas.search.trial import Trial

__all__ = ["Store"]

_PACKAGES = ("nas-dial", "optuna", "numpy", "scipy", "torch", "ray")


@final
class Store:
    """Stored trials and claims. Any number of processes may have the same folder open.

    What they propose and write, they do one after another, each while it is the one in `locked`.
    """

    def __init__(self, folder: Path, settings: Settings, manifest: Mapping[str, Any]) -> None:
        """Open a study's folder, made if need be."""
        self._folder = folder
        self.claims = Claims(folder / "running")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.locked():
                if not check_folder(folder, settings):
                    save_json(folder / "study.json", settings.to_json() | _manifest(manifest))
                self._journal = JournalFile(folder / "study.journal")
                self._journal.path.touch()
                self._storage = open_storage(self._journal)
                self._study = _open(self._storage, self._journal, settings)
        except OSError as error:
            raise StudyError(
                f"a study must be able to write to its folder, but {error}; use another"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder: others wait."""
        with self._lock() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _lock(self) -> IO[str]:
        try:
            return (self._folder / "study.lock").open("a")
        except OSError as error:
            raise StudyError(
                f"a study must be able to write to its folder, but {error}; use another"
            ) from None

    def trials(self, start: int) -> list[tuple[Trial, FrozenTrial]]:
        """Trials stored by whomever, from this place on, also as Optuna has them."""
        return read_trials(self._storage, self._study.study_name, start)

    def close(self) -> None:
        """Wait until what was stored is on the disk."""
        self._journal.close()

    def add(self, done: FrozenTrial) -> None:
        """Store a finished trial, in one write."""
        self._study.add_trial(done)


def _open(storage: JournalStorage, journal: JournalFile, settings: Settings) -> optuna.Study:
    study = load_study(storage, journal, settings)
    if study is None:
        directions = [objective.direction for objective in settings.objectives]
        with quiet_optuna():
            study = optuna.create_study(storage=storage, study_name=settings.space, directions=directions)
            study.set_metric_names([objective.metric for objective in settings.objectives])
    return study


def _manifest(given: Mapping[str, Any]) -> dict[str, Any]:
    """What, beside its settings, decides what a search finds."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # not needed, or run from a checkout that is not installed
            continue
    counting = "macs of convolutions and linear layers; 1 MAC is 2 FLOPs"
    return {"versions": versions, "counting": counting, "cores": os.cpu_count(), **given}
