"""The search: proposes networks, evaluates those new and within budget, and continues where it stopped."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, final

from optuna.samplers import BaseSampler

from nas.budget import Budget
from nas.choices import Option
from nas.errors import SpaceError, StudyError
from nas.search.engine import Engine
from nas.search.journal import check_folder, open_study, read_study, read_trials
from nas.search.judge import FAILURES, CostFunction, Judge, MeasureFunction, Verdict, to_number
from nas.search.objective import Objective
from nas.search.record import Settings, StudyRecord
from nas.search.repair import Walk
from nas.search.sampler import make_sampler, sampler_name
from nas.search.trial import Front, Trial
from nas.space import Architecture, Candidate, SearchSpace

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Evaluate", "Study"]

Evaluate = Callable[[Candidate], Mapping[str, float]]

_PATIENCE = 8  # proposals of a sampler in a row that come to nothing before others are tried
_HOPELESS = 256  # proposals in a row that come to nothing before the search ends
_MOST_FAILURES = 3  # evaluations that fail before one is complete
_MOST_FAILURES_IN_A_ROW = 8  # later, as all do once a target is gone


@final
class Study:
    """A search for the best networks of a space under a budget, kept in a folder.

    Of each proposal is asked, in this order, whether it builds, what its costs are (cheap ones first, those
    of the user in their order) and, where a predicted latency leaves it in doubt, what is measured. Only a
    network that fits the budget and is new is evaluated. One whose measurement or evaluation raises a
    `RuntimeError`, `MemoryError` or `TargetError` has failed, and the search goes on; other errors end it.

    Proposal i and evaluation i depend on the seed, i and the trials stored before, so a search that was
    interrupted ends as one that was not. The folder can be opened with optuna-dashboard.
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
        sampler: str | BaseSampler = "tpe",
        seed: int = 0,
    ) -> None:
        budget = Budget.parse(budget) if isinstance(budget, str) else budget
        _check_objectives(objectives)
        make_sampler(sampler, seed)
        self.settings = Settings(
            space=space.name,
            input_shape=space.input_shape,
            num_classes=space.num_classes,
            objectives=tuple(objectives),
            budget=str(budget),
            sampler=sampler_name(sampler),
            seed=seed,
        )
        self.exhausted = False
        """Whether the last run ended because no other network within the budget was found."""
        self._space = space
        self._folder = Path(folder)
        self._evaluate = evaluate
        self._budget = budget
        self._metrics = tuple(objective.metric for objective in objectives)
        self._judge = Judge(budget, self._metrics, costs or {}, measure)
        self._sampler = sampler
        self._reached: Architecture | None = None  # fits the budget; known until a network is evaluated
        self._trials = list(read_study(folder).trials) if check_folder(self._folder, self.settings) else []

    @property
    def record(self) -> StudyRecord:
        """The study as it stands."""
        return StudyRecord(self.settings, tuple(self._trials))

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._trials)

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

        Ends early, and sets `exhausted`, where no other network within the budget is found; with a
        `StudyError` where the first networks all fail.
        """
        if trials < 1:
            raise StudyError(f"a search must have at least 1 trial, but got {trials}; ask for more")
        if not self.record.evaluated:
            self._reached = self._reach()
        with open_study(self._folder, self.settings) as stored:
            engine = Engine(self._space, stored)
            self._trials = read_trials(stored)
            self.exhausted = False
            while self.record.evaluated < trials:
                trial = self._next(engine)
                if trial is None:
                    self.exhausted = True
                    return
                self._trials.append(trial)
                yield trial
                self._check_failures()

    def _reach(self) -> Architecture:
        """A network within the budget, the same for the same seed; an error where none is found."""
        walk = Walk(self._space, self._judge, self._random("reach"))
        found = walk.find()
        if found is None:
            raise walk.error(self._budget)
        return found

    def _check_failures(self) -> None:
        states = [trial.state for trial in self._trials if trial.evaluated]
        most = _MOST_FAILURES_IN_A_ROW if "complete" in states else _MOST_FAILURES
        if self._trials[-1].state == "failed" and states[-most:] == ["failed"] * most:
            raise StudyError(
                f"of {most} networks in a row one must be complete, but all failed, "
                f"the last because {self._trials[-1].reason}; mend that, and search in this folder again"
            )

    def _next(self, engine: Engine) -> Trial | None:
        """Propose, judge and perhaps evaluate one network, and store it; None where no other is found."""
        idle = sum(1 for _ in takewhile(lambda trial: not trial.evaluated, reversed(self._trials)))
        if idle >= _HOPELESS:
            return None
        number = len(self._trials)
        proposal = self._reached if number == 0 else None
        if idle >= _PATIENCE:
            proposal = self._new_feasible()
            if proposal is None:
                return None
        sampler = make_sampler(self._sampler, self._random(f"proposal {number}").getrandbits(32))
        asked = engine.ask(sampler, proposal)
        choices: dict[str, Option] = {}
        answer = engine.answer(asked)
        try:
            candidate = self._space.candidate(
                lambda name, options: choices.setdefault(name, answer(name, options))
            )
        except SpaceError as error:
            verdict = self._judge.unbuildable(error)
            trial = self._rejected(self._unbuilt(choices), verdict)
        else:
            candidate.seed = self._random(f"evaluation {number}").getrandbits(32)
            trial, verdict = self._assess(candidate)
        values = [trial.values[metric] for metric in self._metrics] if trial.state == "complete" else []
        engine.tell(asked, trial, excess=verdict.excess, values=values)
        return trial

    def _new_feasible(self) -> Architecture | None:
        """A network within the budget that no trial had, near the best so far; None where none is found."""
        seen = {trial.architecture.id for trial in self._trials}
        evaluated = [trial for trial in self._trials if trial.evaluated]
        starts = [trial.architecture for trial in self.front.trials or evaluated]
        if not starts and self._reached:
            starts = [self._reached]
        walk = Walk(self._space, self._judge, self._random(f"walk {len(self._trials)}"))
        return walk.find(seen, starts)

    def _assess(self, candidate: Candidate) -> tuple[Trial, Verdict]:
        """What becomes of a network that builds: a repeat, out of budget, or evaluated."""
        number, architecture = len(self._trials), candidate.architecture
        for earlier in self._trials:
            if earlier.architecture.id == architecture.id:
                reason = f"the network of trial {earlier.number}"
                return Trial(number, architecture, "repeat", earlier.values, reason), Verdict({}, {})
        verdict, started = Verdict({}, {}), time.perf_counter()
        try:
            verdict = self._judge(candidate, measuring=True)
            if verdict.violated:
                return self._rejected(architecture, verdict), verdict
            started = time.perf_counter()
            values = {**_read_metrics(self._evaluate(candidate)), **verdict.values}
        except FAILURES as error:
            values, reason = {}, " ".join(str(error).split()) or type(error).__name__
        else:
            _check_metrics(values, self._metrics)
            reason = _fault(values)
        trial = Trial(
            number,
            architecture,
            "failed" if reason else "complete",
            verdict.values if reason else values,
            reason,
            seconds=time.perf_counter() - started,
            measured=verdict.measured,
        )
        return trial, verdict

    def _rejected(self, architecture: Architecture, verdict: Verdict) -> Trial:
        number = len(self._trials)
        return Trial(
            number,
            architecture,
            "infeasible",
            verdict.values,
            verdict.reason,
            verdict.violated,
            measured=verdict.measured,
        )

    def _unbuilt(self, choices: Mapping[str, Option]) -> Architecture:
        space = self._space
        return Architecture(space.name, tuple(choices.items()), space.input_shape, space.num_classes, id="")

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.settings.seed} {purpose}")


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
