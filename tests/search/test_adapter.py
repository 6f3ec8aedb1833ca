"""Holds that proposers work in studies of Optuna that somebody else has written."""

import time
from copy import copy
from random import Random
from typing import final

import optuna
import pytest

from nas.cost import Cost
from nas.errors import StudyError
from nas.search import History, KnownCost, Maximize, Minimize, Problem, Proposer, SpaceSampler
from nas.space import Architecture, SearchSpace
from search_spaces.mobile import space as mobile


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def study_with(sampler: SpaceSampler) -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


@pytest.mark.parametrize("proposer", ["known-cost", "local", "evolution"])
def test_networks_are_new_and_fit(proposer: str, space: SearchSpace) -> None:
    sampler = SpaceSampler(
        space, [Maximize("accuracy"), Minimize("macs")], budget="macs<=20K", proposer=proposer
    )
    ids = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        rate = trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)
        candidate = space.candidate(trial.suggest_categorical)
        ids.append(candidate.id)
        return rate + int(candidate.id[:6], 16) / 16**6, Cost.of(candidate.graph).macs

    study = study_with(sampler)
    study.optimize(objective, n_trials=15)
    assert len(set(ids)) == 15
    assert all(trial.values[1] <= 20_000 for trial in study.trials)
    assert len({trial.params["learning_rate"] for trial in study.trials}) == 15


def test_networks_asked_at_once_differ(space: SearchSpace) -> None:
    study = study_with(SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")]))
    asked = [study.ask() for _ in range(9)]
    ids = {space.candidate(trial.suggest_categorical).id for trial in asked}
    assert len(ids) == 9


def test_threads_do_not_propose_the_same_network(space: SearchSpace) -> None:
    ids = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        candidate = space.candidate(trial.suggest_categorical)
        ids.append(candidate.id)
        time.sleep(0.01)
        return 0.5, Cost.of(candidate.graph).macs

    study = study_with(SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")]))
    study.optimize(objective, n_trials=24, n_jobs=4)
    assert len(set(ids)) == len(ids) == 24


def test_one_sampler_may_serve_two_studies_and_be_copied(space: SearchSpace) -> None:
    sampler = SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")])
    study, other = study_with(sampler), study_with(sampler)
    asked = [study.ask() for _ in range(3)]
    choices = [space.resolve(trial.suggest_categorical).choices for trial in asked]
    first = other.ask()
    assert space.resolve(first.suggest_categorical).choices == choices[0], "of the same seed, as if alone"
    study.sampler = copy(sampler)
    assert space.resolve(study.ask().suggest_categorical).choices not in choices


@final
class Telling(Proposer):
    """Proposes at random, and tells what it was told."""

    def __init__(self) -> None:
        self.histories: list[History] = []

    def propose(self, problem: Problem, history: History, rng: Random) -> Architecture | None:
        self.histories.append(history)
        return problem.space.sample(rng)


def test_what_is_over_the_budget_is_known_but_no_result(space: SearchSpace) -> None:
    telling = Telling()
    objectives = [Maximize("accuracy"), Minimize("macs")]
    sampler = SpaceSampler(space, objectives, budget="macs<=10K", proposer=telling)
    study, ids = study_with(sampler), list[str]()
    for number in range(12):
        trial = study.ask()
        candidate = space.candidate(trial.suggest_categorical)
        ids.append(candidate.id)
        study.tell(trial, [number / 12, Cost.of(candidate.graph).macs])
    last = telling.histories[-1]
    fits = {trial.number for trial in study.trials[:-1] if trial.values[1] <= 10_000}
    assert {trial.number for trial in last.complete} == fits
    assert 0 < len(fits) < 11
    assert last.seen == set(ids[:-1])


def test_a_study_that_was_made_anew_is_another(space: SearchSpace) -> None:
    telling = Telling()
    sampler = SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")], proposer=telling)
    storage = optuna.storages.InMemoryStorage()
    for depth in (1, 2):
        study = optuna.create_study(
            study_name="again", storage=storage, directions=["maximize", "minimize"], sampler=sampler
        )
        study.enqueue_trial({"depth": depth})
        for _ in range(2):
            trial = study.ask()
            candidate = space.candidate(trial.suggest_categorical)
            study.tell(trial, [0.5, Cost.of(candidate.graph).macs])
        (first,) = telling.histories[-1].complete
        assert dict(first.architecture.choices) == study.trials[0].params
        optuna.delete_study(study_name="again", storage=storage)


def test_failed_and_unfinished_trials_are_passed_over(space: SearchSpace) -> None:
    study = study_with(SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")], seed=3))
    ids = []
    for number in range(12):
        trial = study.ask()
        if number == 3:
            continue  # has no choices yet
        ids.append(space.candidate(trial.suggest_categorical).id)
        if number % 2:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, [number / 12, 1000.0 + number])
    assert len(set(ids)) == 11


def test_a_space_that_is_exhausted_goes_on_at_random(space: SearchSpace) -> None:
    study = study_with(SpaceSampler(space, [Maximize("accuracy"), Minimize("macs")], budget="macs<=300"))
    for _ in range(5):
        trial = study.ask()
        space.candidate(trial.suggest_categorical)
        study.tell(trial, [0.5, 300.0])
    assert len(study.trials) == 5


def test_options_may_depend_on_other_choices() -> None:
    sampler = SpaceSampler(
        mobile.at((1, 8, 8), 10),
        [Minimize("macs"), Maximize("accuracy")],
        proposer=KnownCost(candidates=50),
    )
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    ids = []
    for number in range(12):
        trial = study.ask()
        candidate = sampler.candidate(trial)
        ids.append(candidate.id)
        study.tell(trial, [Cost.of(candidate.graph).macs, number / 12])
    assert len(set(ids)) == 12
    assert {trial.params["block"] for trial in study.trials} == {"inverted", "separable"}


def test_samplers_of_optuna_are_not_for_it(space: SearchSpace) -> None:
    with pytest.raises(StudyError, match="must be one of this project's, but got 'tpe'"):
        SpaceSampler(space, [Maximize("accuracy")], proposer="tpe")
