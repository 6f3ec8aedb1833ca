"""A search on the machines of a Ray cluster: Ray Tune runs the trainings, the study decides everything else.

Tune's searcher is a view of the study: it asks it for networks and tells it what became of them, failures as
failures. So whether a network was trained here, on another machine or before the driver was killed makes no
difference to what is stored, and a study goes from one machine to a cluster and back.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, final

from nas.bundle import Latency
from nas.errors import MissingExtraError, StudyError, TargetError
from nas.search.claim import Claim
from nas.search.judge import FAILURES, MeasureFunction, failure
from nas.search.study import Study
from nas.search.trial import Trial
from nas.space import Architecture, Candidate

if find_spec("ray") is None:
    raise MissingExtraError.of("ray", "ray")

import ray
from ray import tune
from ray.tune.search import Searcher

__all__ = ["TARGET_RESOURCE", "ClusterMeasure", "run_on_ray"]

TARGET_RESOURCE = "nas_target"
"""The resource of a cluster's node that can measure."""

_TOLD = "told"  # the one metric that Tune sees: what an evaluation gave, as JSON
_CONNECT_S = 10
_LOOK_S = 5  # between looks at whether the target's node is still there
_MOST_RETRIES = 3  # of a network whose machine was lost


def run_on_ray(
    study: Study,
    *,
    trials: int,
    address: str | None = None,
    cpus: float = 1,
    on_trial: Callable[[Trial], None] | None = None,
) -> None:
    """As `Study.run`, with the study's `evaluate` called on the machines of a cluster.

    Each call has so many processors. `address` is that of a running cluster (`auto` for the one of this
    machine); without one Ray is started here. A network whose machine is lost is trained again on another.
    `evaluate` must be something that Ray can send; in a search with rungs all machines must share the folder.
    """
    started = not ray.is_initialized()
    if started:
        _start(address)
    try:
        view = _View(study, trials, on_trial)
        sent = ray.cloudpickle.dumps((study.evaluate, study.space))
        workers = max(1, int(ray.cluster_resources().get("CPU", 1) // cpus))
        config = tune.TuneConfig(
            search_alg=view,
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
            metric=_TOLD,
            mode="max",
        )
        train = tune.with_resources(tune.with_parameters(_train, sent=sent), {"cpu": cpus})
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):  # Tune prints tables
            run = tune.RunConfig(
                storage_path=folder, verbose=0, failure_config=tune.FailureConfig(_MOST_RETRIES)
            )
            try:
                tune.Tuner(train, tune_config=config, run_config=run).fit()
            finally:
                view.leave()
                study.close()
        view.check()
    finally:
        if started:
            ray.shutdown()


def _start(address: str | None) -> None:
    """Join a cluster; or start one here, whose processes find the modules that this one does."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        environment = {"env_vars": {"PYTHONPATH": paths}}
        ray.init(**quiet, include_dashboard=False, runtime_env=environment)
        return
    try:
        host, _, port = address.rpartition(":")
        if host:  # Ray itself would try for many minutes
            socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise StudyError(
            f"there must be a Ray cluster at {address!r}, but {failure(error)}; start one by ray start --head"
        ) from None


def _train(config: Mapping[str, Any], *, sent: bytes) -> None:
    """One evaluation, on any machine."""
    how_far = {key: config[key] for key in ("epochs", "checkpoint") if key in config}
    told: dict[str, Any] = {}
    started = time.perf_counter()
    try:
        evaluate, space = ray.cloudpickle.loads(sent)
        architecture = Architecture.from_json(json.loads(config["architecture"]))
        told["values"] = dict(evaluate(Candidate(space, architecture, seed=config["seed"]), **how_far))
    except FAILURES as error:
        told["failed"] = failure(error)
    except Exception as error:  # a mistake, which another machine would make too
        told["wrong"] = f"{type(error).__name__}: {failure(error)}"
    told["seconds"] = time.perf_counter() - started
    tune.report({_TOLD: json.dumps(told, default=float)})


@final
class ClusterMeasure:
    """Measures where the cluster has the target: on a node that was started with one `nas_target`.

        ray start --address HEAD:6379 --resources '{"nas_target": 1}'

    As there is one, measurements wait for each other. Where no node has it, this process measures. `make`
    gives the function that measures, on the machine where it does. With `identity`, a `StudyError` is raised
    where what measures is another target.
    """

    def __init__(self, make: Callable[[], MeasureFunction], identity: str | None = None) -> None:
        self._make = make
        self._identity = identity
        self._here: MeasureFunction | None = None

    def __call__(self, candidate: Candidate, exit: int | None = None) -> Latency:
        at = {} if exit is None else {"exit": exit}
        if TARGET_RESOURCE not in ray.cluster_resources():
            self._here = self._here or self._make()
            return self._checked(self._here(candidate, **at))
        sent = ray.cloudpickle.dumps((self._make, candidate, at))
        running = ray.remote(num_cpus=0, resources={TARGET_RESOURCE: 1})(_measure).remote(sent)
        while not ray.wait([running], timeout=_LOOK_S)[0]:
            if TARGET_RESOURCE not in ray.cluster_resources():
                raise TargetError("a target must stay in the cluster, but its node is gone; start it again")
        return self._checked(ray.get(running))

    def _checked(self, found: Latency) -> Latency:
        if self._identity not in (None, found.target):
            raise StudyError(
                f"the cluster must measure on the calibrated target, {self._identity}, but measures on "
                f"{found.target}; calibrate there, and give that calibration"
            )
        return found


def _measure(sent: bytes) -> Latency:
    make, candidate, at = ray.cloudpickle.loads(sent)
    found: Latency = make()(candidate, **at)
    return found


@final
class _View(Searcher):
    """What Tune sees of a study: networks to train, and somebody to tell what became of them."""

    def __init__(self, study: Study, trials: int, on_trial: Callable[[Trial], None] | None) -> None:
        super().__init__(metric=_TOLD, mode="max")
        self._study = study
        self._trials = trials
        self._on_trial = on_trial
        self._claims: dict[str, Claim] = {}
        self._error: Exception | None = None
        self._out = sys.stdout

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next network; nothing for now while those that run may be all that is wanted."""
        if self._error is not None:
            return str(Searcher.FINISHED)
        claim = self._study.ask(trials=self._trials)
        if claim is None:
            return None if self._study.waiting else str(Searcher.FINISHED)
        self._claims[trial_id] = claim
        architecture = json.dumps(claim.candidate.architecture.to_json())
        return {"architecture": architecture, "seed": claim.candidate.seed, **self._study.how_far(claim)}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Nothing: a study is told of what has ended."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        claim = self._claims[trial_id]
        told = json.loads(result[_TOLD]) if result and _TOLD in result else {}
        try:
            if "wrong" in told:
                raise StudyError(f"an evaluation must not go wrong, but it raised {told['wrong']}; mend it")
            lost = RuntimeError(
                f"it ended {1 + _MOST_RETRIES} times without a result, as if its machine was lost"
            )
            found = told.get("values", RuntimeError(told["failed"]) if "failed" in told else lost)
            trial = self._study.tell(claim, found, told.get("seconds", 0.0))
            del self._claims[trial_id]
            if self._on_trial:
                with redirect_stdout(self._out):
                    self._on_trial(trial)
        except Exception as wrong:  # Tune only logs what a searcher raises
            self._error = self._error or wrong

    def leave(self) -> None:
        """Give what was not finished to others."""
        for claim in self._claims.values():
            self._study.give_up(claim)

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of the study: Tune writes its searcher down, but who continues opens the study instead."""
        return {"_metric": self._metric, "_mode": self._mode}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study keeps itself."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: whoever continues opens the study."""
