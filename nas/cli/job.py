"""What a run folder remembers of the search, so that the commands that follow need not be told again.

job.json        the settings of the search that its study does not hold
study.…         the study
latency.json    measured layers
models/NAME/    trained networks: checkpoint, weights, architecture
bundle/         what was exported
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.data import Data, load_data
from nas.errors import StudyError
from nas.space import SearchSpace, load_space

if TYPE_CHECKING:
    from nas.search import StudyRecord

__all__ = ["NETWORK_FILE", "WEIGHTS_FILE", "Job", "Run", "load_search_space", "write_file"]

NETWORK_FILE = "network.json"
WEIGHTS_FILE = "model.safetensors"

_FILE = "job.json"


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings of a search: what is trained on, for how long, and what is sought."""

    data: str
    budget: str
    objectives: tuple[str, ...]
    """Such as `maximize:accuracy`."""
    sampler: str
    epochs: int
    """Of the short training of each network."""
    images: int | None
    """Training images used per epoch of it; all if None."""
    seed: int
    threads: int

    def check(self, given: Mapping[str, Any], folder: Path) -> None:
        """`StudyError` where settings given now differ from those of the folder."""
        for name, value in given.items():
            if value != (stored := getattr(self, name)):
                raise StudyError(
                    f"a search must continue as it was begun, but in {folder} its {name} is {stored!r} "
                    f"and not {value!r}; use another folder"
                )

    def save(self, folder: Path, data: Data) -> None:
        """Write the settings, and the hash of the data, unless they are there."""
        if not (folder / _FILE).exists():
            write_file(folder / _FILE, asdict(self) | {"data_hash": data.hash})


@final
class Run:
    """A run folder as a search left it. `Run.load` reads its settings; the rest is read when asked for."""

    def __init__(self, folder: Path, job: Job, data_hash: str) -> None:
        self.folder = folder
        self.job = job
        self._data_hash = data_hash

    @staticmethod
    def load(folder: Path) -> Run:
        path = folder / _FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            data_hash = values.pop("data_hash")
            return Run(folder, Job(**values | {"objectives": tuple(values["objectives"])}), data_hash)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StudyError(
                f"a run folder must hold {_FILE} as nas search writes it, but {folder} does not: {error!r}; "
                "search first"
            ) from None

    @staticmethod
    def find(folder: Path) -> Run | None:
        """The run in a folder, None where no search has begun."""
        return Run.load(folder) if (folder / _FILE).exists() else None

    def record(self) -> StudyRecord:
        """The study as it stands."""
        from nas.search import read_study

        return read_study(self.folder)

    def data(self) -> Data:
        """The data of the search; an error if it has changed since."""
        data = load_data(self.job.data, self.job.seed)
        if data.hash != self._data_hash:
            raise StudyError(
                f"data must be as in the search, but {self.job.data} has hash {data.hash} and not "
                f"{self._data_hash}; restore it, or search in another folder"
            )
        return data

    @property
    def models(self) -> Path:
        """Folder of the trained networks, one sub-folder each."""
        return self.folder / "models"

    @property
    def bundle(self) -> Path:
        """Where networks are exported, unless elsewhere."""
        return self.folder / "bundle"


def load_search_space(name: str, data: Data) -> SearchSpace:
    """The search space of that name, for the images and classes of the data."""
    space = load_space(name)
    if not isinstance(space, SearchSpace):
        raise StudyError(f"a search must have a search space, but {name} is one network; name its space")
    return space.at(data.input_shape, data.num_classes)


def write_file(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON so that the file is never there by halves."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=2), encoding="utf-8")
    part.replace(path)
