"""A study as it stands: its settings and all its trials, with what follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from nas.budget import Budget
from nas.errors import MissingExtraError, StudyError
from nas.op import Shape
from nas.search.objective import Objective, objective_from_json
from nas.search.rungs import Rungs
from nas.search.trial import Front, Trial

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Settings", "StudyRecord"]

_FORMAT = 1
_TYPES = {"space": str, "num_classes": int, "budget": str, "sampler": str, "seed": int}


@final
@dataclass(frozen=True)
class Settings:
    """What a study is about; a folder holds one study, so these may not change when it continues."""

    space: str
    input_shape: Shape
    num_classes: int
    objectives: tuple[Objective, ...]
    budget: str
    sampler: str
    seed: int
    rungs: Rungs | None = None

    def to_json(self) -> dict[str, Any]:
        values = vars(self) | {"objectives": [objective.to_json() for objective in self.objectives]}
        return {"format": _FORMAT} | values | {"rungs": self.rungs.to_json() if self.rungs else None}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Settings:
        if not isinstance(values, Mapping):
            raise StudyError(f"a study must be a JSON object, but got {values!r}; restore it from a copy")
        if values.get("format") != _FORMAT:
            raise StudyError(
                f"a study must have format {_FORMAT}, but got {values.get('format')!r}; "
                "open it with the version of nas-dial that wrote it"
            )
        try:
            _check_types(values)
            return Settings(
                space=values["space"],
                input_shape=tuple(values["input_shape"]),
                num_classes=values["num_classes"],
                objectives=tuple(map(objective_from_json, values["objectives"])),
                budget=values["budget"],
                sampler=values["sampler"],
                seed=values["seed"],
                rungs=Rungs.from_json(values.get("rungs")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StudyError(
                f"a study must have all its settings, but one is damaged: {error!r}; restore it from a copy"
            ) from None


def _check_types(values: Mapping[str, Any]) -> None:
    """Raise a `KeyError`, `TypeError` or `ValueError` unless the settings are of their types."""
    for name, kind in _TYPES.items():
        if type(values[name]) is not kind:
            raise TypeError(f"{name} must be {kind.__name__}, but is {values[name]!r}")
    if not all(type(size) is int for size in values["input_shape"]):
        raise TypeError(f"input_shape must be of int, but is {values['input_shape']!r}")
    Budget.parse(values["budget"])


@final
@dataclass(frozen=True)
class StudyRecord:
    """All that a study has stored."""

    settings: Settings
    trials: tuple[Trial, ...]

    @property
    def front(self) -> Front:
        return Front.of(self.trials, self.settings.objectives)

    @property
    def evaluated(self) -> int:
        """Networks on which an evaluation was spent."""
        return sum(trial.evaluated and not trial.rung for trial in self.trials)

    @property
    def rejections(self) -> Counter[str]:
        """How many networks each limit has kept from being evaluated, by its key.

        A limit on a cost that was measured for that counts apart, as `latency_ms measured`.
        """
        return Counter(
            f"{key} measured" if key in trial.measured else key
            for trial in self.trials
            for key in trial.violated
        )

    def frame(self) -> DataFrame:
        """One row per trial: its state, values and choices."""
        try:
            from pandas import DataFrame
        except ImportError:
            raise MissingExtraError.of("pandas", "search") from None
        return DataFrame(
            {"number": trial.number, "state": trial.state, "id": trial.architecture.id}
            | dict(trial.values)
            | {f"choice.{name}": option for name, option in trial.architecture.choices}
            | {"reason": trial.reason, "seconds": trial.seconds}
            for trial in self.trials
        )
