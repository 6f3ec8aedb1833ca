"""What a run folder remembers of the search, so that the commands that follow need not be told again.

job.json               how its networks are trained, which its study does not hold
study.…                the study
latency.json           what is known of the target: its calibration
models/selection.json  which networks were trained last
models/NAME/           a trained network: checkpoint, weights, description
bundle/                what was exported
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from nas.data import Data, load_data
from nas.errors import StudyError
from nas.files import save_json
from nas.space import SearchSpace, load_space

if TYPE_CHECKING:
    from nas.search import StudyRecord

__all__ = [
    "CALIBRATION_FILE",
    "NETWORK_FILE",
    "SELECTION_FILE",
    "WEIGHTS_FILE",
    "Job",
    "Run",
    "load_search_space",
    "read_file",
]

CALIBRATION_FILE = "latency.json"
NETWORK_FILE = "network.json"
SELECTION_FILE = "selection.json"
WEIGHTS_FILE = "model.safetensors"

_FILE = "job.json"


@final
@dataclass(frozen=True, kw_only=True)
class Job:
    """How a search trains its networks: on what, and for how long."""

    data: str
    data_hash: str
    epochs: int
    """Of the short training of each network."""
    images: int | None
    """Training images used per epoch of it; all if None."""
    threads: int
    target: str = "local"
    """Where latency is measured, as `nas.latency.open_target` reads it."""
    energy: str = ""
    """What an inference is declared to draw, as `nas.latency.DeclaredEnergy` reads it; empty if nothing."""
    anytime: str = ""
    """Costs between which networks may be stopped, as `nas.search.CostRange` reads them; empty if none."""

    def __post_init__(self) -> None:
        texts = (self.data, self.data_hash, self.target, self.energy, self.anytime)
        images = 2 if self.images is None else self.images
        sizes = {"epochs": (self.epochs, 1), "images": (images, 2), "threads": (self.threads, 1)}
        if not all(isinstance(text, str) for text in texts):
            raise StudyError(
                f"data, data_hash, target, energy and anytime in {_FILE} must be texts, but got {self}; "
                "restore them"
            )
        for name, (size, least) in sizes.items():
            if type(size) is not int or size < least:
                raise StudyError(
                    f"{name} in {_FILE} must be a whole number of at least {least}, but got {size!r}; "
                    "correct it"
                )

    @property
    def anytime_metric(self) -> str:
        """The metric of the costs at which exits are compared; empty without such."""
        from nas.search import CostRange

        return CostRange.parse(self.anytime).metric if self.anytime else ""

    def check(self, given: Mapping[str, Any], folder: Path) -> None:
        """`StudyError` where settings given now differ from those of the folder."""
        for name, stored in asdict(self).items():
            if given.get(name, stored) != stored:
                raise StudyError(
                    f"a search must continue as it was begun, but in {folder} its {name} is {stored!r} "
                    f"and not {given[name]!r}; use another folder"
                )

    def save(self, folder: Path) -> None:
        """Write the settings, unless they are there."""
        if not (folder / _FILE).exists():
            save_json(folder / _FILE, asdict(self))


@final
@dataclass(frozen=True)
class Run:
    """A run folder as a search left it."""

    folder: Path
    job: Job
    record: StudyRecord

    @staticmethod
    def load(folder: Path) -> Run:
        run = Run.find(folder)
        if run is None:
            raise StudyError(f"a run folder must hold {_FILE}, but {folder} does not; nas search first")
        return run

    @staticmethod
    def find(folder: Path) -> Run | None:
        """The run in a folder, None where no search has begun."""
        from nas.search import read_study

        path = folder / _FILE
        if not path.exists():
            return None
        try:
            job = Job(**read_file(path))
        except TypeError as error:
            raise StudyError(
                f"{path} must be as nas search writes it, but: {error}; restore it, or use another folder"
            ) from None
        return Run(folder, job, read_study(folder))

    def data(self) -> Data:
        """The data of the search; an error if it has changed since."""
        data = load_data(self.job.data, self.record.settings.seed)
        if data.hash != self.job.data_hash:
            raise StudyError(
                f"data must be as in the search, but {self.job.data} has hash {data.hash} and not "
                f"{self.job.data_hash}; restore it, or search in another folder"
            )
        return data

    @property
    def models(self) -> Path:
        """Folder of the trained networks, one sub-folder each."""
        return self.folder / "models"

    @property
    def calibration(self) -> Path:
        """File of what the search knows of its target."""
        return self.folder / CALIBRATION_FILE

    @property
    def bundle(self) -> Path:
        """Where networks are exported, unless elsewhere."""
        return self.folder / "bundle"


def load_search_space(name: str) -> SearchSpace:
    """The search space of that name."""
    space = load_space(name)
    if not isinstance(space, SearchSpace):
        raise StudyError(f"a search must have a search space, but {name} is one network; name its space")
    return space


def read_file(path: Path) -> dict[str, Any]:
    """The values in a JSON file of a run folder; none where it is not there."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_bytes()).items())
    except (ValueError, AttributeError):
        raise StudyError(
            f"{path} must hold one JSON object, but is damaged; restore it, or use another folder"
        ) from None
