"""The search for the best networks under a budget: a `Study` on Optuna, kept in a folder."""

from importlib.util import find_spec

from nas.errors import MissingExtraError

if find_spec("optuna") is None:
    raise MissingExtraError.of("optuna", "search")

from nas.interval import Interval as Interval
from nas.search.journal import read_study as read_study
from nas.search.objective import Maximize as Maximize
from nas.search.objective import Minimize as Minimize
from nas.search.objective import Objective as Objective
from nas.search.record import Settings as Settings
from nas.search.record import StudyRecord as StudyRecord
from nas.search.sampler import SAMPLERS as SAMPLERS
from nas.search.study import Study as Study
from nas.search.trial import Front as Front
from nas.search.trial import Trial as Trial

__all__ = [
    "SAMPLERS",
    "Front",
    "Interval",
    "Maximize",
    "Minimize",
    "Objective",
    "Settings",
    "Study",
    "StudyRecord",
    "Trial",
    "read_study",
]
