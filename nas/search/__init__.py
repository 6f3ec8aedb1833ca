"""The search for the best networks under a budget: a `Study` on Optuna, kept in a folder."""

from importlib.util import find_spec

from nas.errors import MissingExtraError

if find_spec("optuna") is None:
    raise MissingExtraError.of("optuna", "search")

from nas.interval import Interval as Interval
from nas.search.adapter import SpaceSampler as SpaceSampler
from nas.search.analysis import hypervolume_curve as hypervolume_curve
from nas.search.analysis import hypervolume_share as hypervolume_share
from nas.search.analysis import importances as importances
from nas.search.anytime import AnytimeEvaluation as AnytimeEvaluation
from nas.search.anytime import CostRange as CostRange
from nas.search.claim import Claim as Claim
from nas.search.journal import read_study as read_study
from nas.search.known_cost import KnownCost as KnownCost
from nas.search.neighborhood import Evolution as Evolution
from nas.search.neighborhood import LocalSearch as LocalSearch
from nas.search.objective import Maximize as Maximize
from nas.search.objective import Minimize as Minimize
from nas.search.objective import Objective as Objective
from nas.search.proposer import History as History
from nas.search.proposer import Problem as Problem
from nas.search.proposer import Proposer as Proposer
from nas.search.record import Settings as Settings
from nas.search.record import StudyRecord as StudyRecord
from nas.search.rungs import Rungs as Rungs
from nas.search.sampler import SAMPLERS as SAMPLERS
from nas.search.study import Study as Study
from nas.search.trial import Front as Front
from nas.search.trial import Trial as Trial
from nas.search.warm_start import WarmStart as WarmStart

__all__ = [
    "SAMPLERS",
    "AnytimeEvaluation",
    "Claim",
    "CostRange",
    "Evolution",
    "Front",
    "History",
    "Interval",
    "KnownCost",
    "LocalSearch",
    "Maximize",
    "Minimize",
    "Objective",
    "Problem",
    "Proposer",
    "Rungs",
    "Settings",
    "SpaceSampler",
    "Study",
    "StudyRecord",
    "Trial",
    "WarmStart",
    "hypervolume_curve",
    "hypervolume_share",
    "importances",
    "read_study",
]
