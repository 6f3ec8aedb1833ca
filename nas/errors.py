"""What can go wrong, for whoever wants to catch it.

    NasError                          never raised itself
    ├── SpaceError        ValueError    a network or search space that cannot be built
    ├── BudgetError       ValueError    a budget that cannot be read or reached
    ├── DataError         ValueError    images or labels that cannot be used
    ├── BundleError       ValueError    an exported folder that is damaged or does not fit
    ├── StudyError        ValueError    a search or training that cannot start or continue
    ├── TargetError       ValueError    a machine that cannot measure what was asked
    ├── TrainingError     RuntimeError  a training that went wrong, such as a loss that became NaN
    └── MissingExtraError ImportError   an optional package that is not installed

A message is one sentence: the rule, the value that broke it, the remedy.
"""

from typing import final

__all__ = [
    "BudgetError",
    "BundleError",
    "DataError",
    "MissingExtraError",
    "NasError",
    "SpaceError",
    "StudyError",
    "TargetError",
    "TrainingError",
]


class NasError(Exception):
    """Any error of this library; only the classes below are raised."""


@final
class SpaceError(NasError, ValueError):
    """A network or search space that cannot be built."""


@final
class BudgetError(NasError, ValueError):
    """A budget that cannot be read or reached."""


@final
class DataError(NasError, ValueError):
    """Images or labels that cannot be used."""


@final
class BundleError(NasError, ValueError):
    """An exported folder that is damaged or does not fit what was asked of it."""


@final
class StudyError(NasError, ValueError):
    """A search or training that cannot start or continue."""


@final
class TargetError(NasError, ValueError):
    """A machine that cannot measure what was asked."""


@final
class TrainingError(NasError, RuntimeError):
    """A training that went wrong."""


@final
class MissingExtraError(NasError, ImportError):
    """An optional package that is not installed.

    >>> str(MissingExtraError.of("matplotlib", "report"))
    "matplotlib must be installed, but it is not; do pip install 'nas-dial[report]'"
    """

    @classmethod
    def of(cls, package: str, extra: str) -> "MissingExtraError":
        """The error for `package`, which the extra named `extra` brings."""
        return cls(
            f"{package} must be installed, but it is not; do pip install 'nas-dial[{extra}]'", name=package
        )
