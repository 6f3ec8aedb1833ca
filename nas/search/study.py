"""The search: proposes networks, evaluates those new and within budget, and continues where it stopped."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from optuna.samplers import BaseSampler

from nas.budget import Budget
from nas.errors import StudyError
from nas.search.claim import Claim
from nas.search.journal import check_folder, read_study
from nas.search.judge import FAILURES, CostFunction, Judge, MeasureFunction, failure, to_number
from nas.search.objective import Objective
from nas.search.proposals import Proposals
from nas.search.proposer import Problem, Proposer
from nas.search.record import Settings, StudyRecord
from nas.search.rungs import Rungs
from nas.search.sampler import sampler_name
from nas.search.store import Store
from nas.search.tally import Tally
from nas.search.trial import Front, Trial
from nas.search.worker import Result, Worker
from nas.space import SearchSpace

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Evaluate", "Study"]

Evaluate = Callable[..., Mapping[str, float]]
"""Called with a candidate; in a search with rungs with `epochs` and `checkpoint` too."""

_MOST_FAILURES = 3  # evaluations that fail before one is complete
_MOST_FAILURES_IN_A_ROW = 8  # later, as all do once a target is gone
_WAIT_S = 0.2  # between looks at what other workers do


@final
class Study:
    """A search for the best networks of a space under a budget, kept in a folder.

    Of each proposal is asked, in this order, whether it builds, what its costs are (cheap ones first, those
    of the user in their order) and, where a predicted latency leaves it in doubt, what is measured. Only a
    network that fits the budget and is new is evaluated. One whose measurement or evaluation raises a
    `RuntimeError`, `MemoryError` or `TargetError` has failed, and the search goes on; other errors end it.

    Proposal i and evaluation i depend on the seed, i and the trials stored before, so a search that was
    interrupted ends as one that was not. Several processes may search in one folder; what one that was killed
    had begun, another evaluates. The folder can be opened with optuna-dashboard.

    `sampler` is a name of `SAMPLERS`, a `Proposer` or a sampler of Optuna. What `manifest` says is kept in
    the folder for who wants to repeat the search, such as a hash of the data. With `rungs`, `evaluate` is
    called with `epochs` and `checkpoint` too: it trains up to this epoch, and goes on from that file if it
    is there. `trials` counts the networks begun, and only those trained to the last rung are in the front.

    `exhausted` says whether the last run ended because no other network within the budget was found,
    `waiting` whether nothing was left to ask while others still ran.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: str | Path,
        *,
        objectives: Sequence[Objective],
        evaluate: Evaluate,
        budget: str | Budget = "",
        costs: Mapping[str, CostFunction] | None = None,
        measure: MeasureFunction | None = None,
        sampler: str | Proposer | BaseSampler = "known-cost",
        seed: int = 0,
        rungs: Rungs | None = None,
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        budget = Budget.parse(budget) if isinstance(budget, str) else budget
        _check_objectives(objectives)
        self.settings = Settings(
            space.name,
            space.input_shape,
            space.num_classes,
            tuple(objectives),
            str(budget),
            sampler_name(sampler),
            seed,
            rungs,
        )
        self.exhausted = self.waiting = False
        self.space = space
        self.evaluate = evaluate
        self.folder = Path(folder)
        self._manifest = manifest or {}
        self._metrics = tuple(objective.metric for objective in objectives)
        judge = Judge(budget, self._metrics, costs or {}, measure)
        problem = Problem(space, judge, tuple(objectives), budget)
        self._proposals = Proposals(problem, sampler, self.settings)
        stored = check_folder(self.folder, self.settings)
        self._trials: Sequence[Trial] = read_study(folder).trials if stored else ()
        self._worker: Worker | None = None

    @property
    def record(self) -> StudyRecord:
        """The study as it stands."""
        return StudyRecord(self.settings, self.trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._worker.tally.trials if self._worker else self._trials)

    @property
    def front(self) -> Front:
        return self.record.front

    @property
    def rejections(self) -> Counter[str]:
        """How many networks each limit has kept from being evaluated, by its key."""
        return self.record.rejections

    def frame(self) -> DataFrame:
        """One row per trial, as pandas: its state, values and choices."""
        return self.record.frame()

    def run(self, *, trials: int) -> Iterator[Trial]:
        """Search until the folder holds this many evaluated networks; yields each trial once it is stored.

        Those of other workers are among them, and their last ones are waited for. Ends early, and sets
        `exhausted`, where no other network within the budget is found; with a `StudyError` where the first
        networks all fail.
        """
        if trials < 1:
            raise StudyError(f"a search must have at least 1 trial, but got {trials}; ask for more")
        if self._worker is not None and self._worker.busy:
            raise StudyError(
                "networks that were asked must be told before a run, but some are not; tell them"
            )
        self.exhausted = False
        try:
            yield from self._search(self._begin(), trials)
        finally:
            self.close()

    def ask(self, *, trials: float = math.inf) -> Claim | None:
        """A network for this process to evaluate and to `tell`; None where none is found.

        For those who evaluate by other means than `run`. Any number may be asked before they are told, as
        long as there are fewer than `trials` evaluated and asked. Without a network `waiting` says whether
        there may be one once those that run are told, and `exhausted` whether no other within the budget
        was found.
        """
        worker = self._begin()
        while True:
            shown = len(worker.tally.trials)
            claim, more = worker.next(trials, here=False)
            self.waiting = claim is None and more
            self._clear(worker.tally.trials[shown:])
            if claim is not None or not more or len(worker.tally.trials) == shown:
                self.exhausted = not more and worker.tally.evaluated < trials
                return claim

    def tell(self, claim: Claim, result: Mapping[str, float] | Exception, seconds: float = 0.0) -> Trial:
        """Store what an evaluation gave: its metrics, or the error with which it failed."""
        found = Result({}, failure(result)) if isinstance(result, Exception) else self._read(result, claim)
        worker = self._begin()
        trial = worker.tell(claim, found._replace(seconds=seconds))
        self._clear([trial])
        _check_failures(worker.tally)
        return trial

    def how_far(self, claim: Claim) -> dict[str, Any]:
        """With what else `evaluate` is called in a search with rungs: `epochs` and `checkpoint`."""
        if self.settings.rungs is None or claim.rung is None:
            return {}
        epochs = self.settings.rungs.epochs[claim.rung]
        return {"epochs": epochs, "checkpoint": self._checkpoint(claim.candidate.id)}

    def give_up(self, claim: Claim) -> None:
        """Leave a network that was asked to whoever asks next."""
        self._begin().give_up(claim)

    def close(self) -> None:
        """Wait until all is on the disk, and close the folder; `ask` opens it again.

        Nothing, where networks that were asked are yet to be told.
        """
        worker = self._worker
        if worker is not None and not worker.busy:
            self._trials, self._worker = worker.tally.trials, None
            worker.close()

    def _search(self, worker: Worker, trials: int) -> Iterator[Trial]:
        shown = len(worker.tally.trials)
        while True:
            claim, more = worker.next(trials, here=True)
            if claim is not None:
                worker.tell(claim, self._evaluated(claim))
            fresh = worker.tally.trials[shown:]
            shown += len(fresh)
            self._clear(fresh)
            yield from fresh
            if fresh:
                _check_failures(worker.tally)
            elif not more:
                self.exhausted = worker.tally.evaluated < trials
                return
            elif claim is None:
                time.sleep(_WAIT_S)

    def _begin(self) -> Worker:
        """Open the folder, unless it is; an error where no network within the budget is found."""
        if self._worker is None:
            if not any(trial.evaluated for trial in self._trials):
                self._proposals.reach()
            store = Store(self.folder, self.settings, self._manifest)
            self._proposals.begin()
            self._worker = Worker(store, self._proposals, self.settings.rungs)
        return self._worker

    def _evaluated(self, claim: Claim) -> Result:
        started = time.perf_counter()
        try:
            result = self._read(self.evaluate(claim.candidate, **self.how_far(claim)), claim)
        except FAILURES as error:
            result = Result({}, failure(error))
        except BaseException:
            self.give_up(claim)
            raise
        return result._replace(seconds=time.perf_counter() - started)

    def _read(self, found: Any, claim: Claim) -> Result:
        """The metrics that an evaluation gave, or what is wrong with them."""
        values = _read_metrics(found)
        _check_metrics({**values, **claim.verdict.values}, self._metrics)
        reason = _fault(values)
        return Result({} if reason else values, reason)

    def _checkpoint(self, id: str) -> Path:
        return self.folder.absolute() / "checkpoints" / f"{id}.safetensors"

    def _clear(self, trials: Iterable[Trial]) -> None:
        """Remove what trainings would have continued from that came to their end, in whatever process."""
        for trial in trials:
            if trial.rung is not None and trial.state in ("complete", "failed"):
                self._checkpoint(trial.architecture.id).unlink(missing_ok=True)


def _check_failures(tally: Tally) -> None:
    most = _MOST_FAILURES_IN_A_ROW if tally.complete else _MOST_FAILURES
    if tally.trials[-1].state == "failed" and tally.failures >= most:
        raise StudyError(
            f"of {most} networks in a row one must be complete, but all failed, "
            f"the last because {tally.trials[-1].reason}; mend that, and search in this folder again"
        )


def _read_metrics(result: Any) -> dict[str, float]:
    """What an evaluation gave; `StudyError` if that is not as it must be."""
    if not isinstance(result, Mapping):
        raise StudyError(
            f"an evaluation must give its metrics by name, but gave {result!r}; "
            "return such as {'accuracy': 0.9}"
        )
    return {key: to_number(value, key) for key, value in result.items()}


def _check_metrics(values: Mapping[str, float], objectives: Iterable[str]) -> None:
    for key in objectives:
        if key not in values:
            raise StudyError(
                f"an objective must be a known cost or a metric of the evaluation, but {key} is not among "
                f"{', '.join(values)}; name one of these, or let the evaluation return it"
            )


def _fault(values: Mapping[str, float]) -> str:
    """What is wrong with the values of an evaluated network; empty if nothing is."""
    for key, value in values.items():
        if not math.isfinite(value):
            return f"{key} must be a finite number, but it is {value}"
    return ""


def _check_objectives(objectives: Sequence[Objective]) -> None:
    if not isinstance(objectives, Sequence) or not all(isinstance(each, Objective) for each in objectives):
        raise StudyError(
            f"objectives must be Maximize or Minimize of a metric, but got {objectives!r}; "
            "give such as [Maximize('accuracy'), Minimize('macs')]"
        )
    metrics = [objective.metric for objective in objectives]
    if not metrics or len(set(metrics)) < len(metrics):
        raise StudyError(
            f"a study must have objectives with different metrics, but got {metrics}; give each metric once"
        )
