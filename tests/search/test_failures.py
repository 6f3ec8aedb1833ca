"""Holds that what fails is kept and passed, and that what is wrong ends the search and leaves nothing."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.bundle import Latency
from nas.errors import BudgetError, StudyError, TargetError, TrainingError
from nas.search import Maximize, Minimize, Study, read_study
from nas.search.study import Evaluate
from nas.space import Candidate, SearchSpace

Start = Callable[..., Study]
Measurement = Callable[[float], Latency]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "tests:other"}, r"space is 'tests:twins' and not 'tests:other'"),
        ({"shape": (1, 9, 9)}, r"input_shape is \(1, 8, 8\) and not \(1, 9, 9\)"),
        ({"classes": 7}, "num_classes is 4 and not 7"),
        ({"objectives": (Maximize("accuracy"),)}, "objectives is .*Minimize"),
        ({"budget": "macs<=30K"}, "budget is '' and not 'macs<=30K'"),
        ({"sampler": "tpe"}, "sampler is 'random' and not 'tpe'"),
        ({"seed": 1}, "seed is 0 and not 1"),
    ],
)
def test_folder_of_another_study(
    change: dict[str, Any], message: str, space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    next(start(space, tmp_path).run(trials=1))
    name, shape, classes = change.pop("space", space.name), change.pop("shape", (1, 8, 8)), 4
    other = SearchSpace(space._build, name).at(shape, change.pop("classes", classes))
    with pytest.raises(StudyError, match=message):
        start(other, tmp_path, **change)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"sampler": "known"},
            StudyError,
            "random, tpe, nsga2, gp, a Proposer or an Optuna sampler, but got 'known'",
        ),
        ({"objectives": ()}, StudyError, "must have objectives"),
        ({"objectives": (Minimize("macs"), Maximize("macs"))}, StudyError, "different metrics"),
        ({"objectives": ["accuracy"]}, StudyError, r"Maximize or Minimize .*, but got \['accuracy'\]"),
        ({"objectives": Maximize("accuracy")}, StudyError, "Maximize or Minimize of a metric, but got Max"),
        ({"budget": "latency<=1ms"}, BudgetError, r"latency<=1ms is not; .* costs=\{'latency_ms'"),
        (
            {"budget": "latency@0<=1ms", "costs": {"latency_ms": lambda candidate: 1.0}},
            StudyError,
            r"but the one for latency_ms@0 takes no exit; add exit=None",
        ),
        (
            {"budget": "latency@0<=1ms", "measure": lambda candidate: None},
            StudyError,
            r"but the one for latency_ms@0 takes no exit; add exit=None",
        ),
        ({"budget": "macs<=1parsec"}, BudgetError, "must have one of the units"),
    ],
)
def test_wrong_settings(
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
    space: SearchSpace,
    start: Start,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        start(space, tmp_path / "run", **settings)
    with pytest.raises(StudyError, match="at least 1 trial"):
        next(start(space, tmp_path / "run").run(trials=0))
    assert not (tmp_path / "run").exists()


def failing(answers: Sequence[Any]) -> Evaluate:
    """An evaluation that gives or raises these, and then succeeds."""
    left = iter(answers)

    def answer(candidate: Candidate) -> dict[str, float]:
        given = next(left, {"accuracy": 0.5, "accuracy@0": 0.25})
        if isinstance(given, BaseException):
            raise given
        return given

    return answer


def test_failed_evaluations_are_kept_and_passed(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    errors = [
        TrainingError("loss is nan"),
        MemoryError(),
        RuntimeError("out of\n  memory"),
        TargetError("busy"),
    ]
    answers = [{"accuracy": 0.5}, *errors, {"accuracy": math.nan}]
    study = start(space, tmp_path, evaluate=failing(answers))
    trials = [trial for trial in study.run(trials=8) if trial.evaluated]
    assert [trial.state for trial in trials] == ["complete", *["failed"] * 5, *["complete"] * 2]
    assert [trial.reason for trial in trials[1:6]] == [
        "loss is nan",
        "MemoryError",
        "out of memory",
        "busy",
        "accuracy must be a finite number, but it is nan",
    ]
    assert trials[-1].values["accuracy@0"] == 0.25
    assert read_study(tmp_path).trials == study.trials


def test_search_ends_where_the_first_networks_all_fail(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    study = start(space, tmp_path, evaluate=failing([RuntimeError(f"fault {n}") for n in range(4)]))
    for failures, reason in ((3, "fault 2"), (4, "fault 3")):
        with pytest.raises(StudyError, match=rf"of 3 networks .* the last because {reason}; mend that"):
            list(study.run(trials=9))
        assert [trial.state for trial in read_study(tmp_path).trials if trial.evaluated] == [
            "failed"
        ] * failures
    list(study.run(trials=9))
    assert len(study.front) > 0


def test_search_ends_where_all_fail_from_some_moment_on(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    faults: list[Exception | None] = [None, *(RuntimeError(f"fault {n}") for n in range(20))]
    evaluated: list[str] = []

    def evaluate(candidate: Candidate) -> dict[str, float]:
        evaluated.append(candidate.id)
        fault = faults[len(evaluated) - 1]
        if fault:
            raise fault
        return {"accuracy": 0.5}

    with pytest.raises(StudyError, match=r"of 8 networks in a row .* because fault 7; mend that"):
        list(start(space, tmp_path, evaluate=evaluate).run(trials=20))
    assert len(evaluated) == 9


def test_failed_measurements_are_kept_and_passed(
    space: SearchSpace, start: Start, latency: Measurement, tmp_path: Path
) -> None:
    def measure(candidate: Candidate) -> Latency:
        if dict(candidate.architecture.choices)["depth"] == 2:
            raise TargetError("too deep")
        return latency(1.0)

    def predict(candidate: Candidate) -> float:
        return measure(candidate).p50_ms

    for name, ways in {"dear": {"measure": measure}, "cheap": {"costs": {"latency_ms": predict}}}.items():
        study = start(space, tmp_path / name, budget="latency<=1ms", **ways)
        list(study.run(trials=12))
        depths = {(dict(t.architecture.choices)["depth"], t.state) for t in study.trials if t.evaluated}
        assert depths == {(1, "complete"), (2, "failed")}
        assert {trial.reason for trial in study.trials if trial.state == "failed"} == {"too deep"}

    def absent(candidate: Candidate) -> float:
        raise TargetError("no such machine")

    for budget in ("latency<=1ms", "macs<=20K, latency<=1ms", "macs<=20K"):
        with pytest.raises(TargetError, match="no such machine"):
            next(start(space, tmp_path / "none", budget=budget, costs={"latency_ms": absent}).run(trials=1))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluate": lambda candidate: None}, "must give its metrics by name, but gave None"),
        ({"evaluate": lambda candidate: {"accuracy": None}}, "accuracy must be a number, but got None"),
        ({"evaluate": lambda candidate: {"loss": 1.0}}, "accuracy is not among loss, macs"),
        (
            {"costs": {"energy_mj": lambda candidate: "low"}},
            "energy_mj of .* must be a number, but got 'low'",
        ),
        (
            {"measure": lambda candidate: 1.0, "budget": "latency<=1ms"},
            r"must give a nas\.bundle\.Latency, but gave 1\.0",
        ),
    ],
)
def test_wrong_results_end_the_search(
    settings: dict[str, Any], message: str, space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    study = start(space, tmp_path, **settings)
    with pytest.raises(StudyError, match=message):
        next(study.run(trials=1))
    assert study.trials == ()


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_other_errors_end_the_search_and_leave_nothing(
    error: type[BaseException], space: SearchSpace, start: Start, evaluate: Evaluate, tmp_path: Path
) -> None:
    def broken(candidate: Candidate) -> dict[str, float]:
        if len(study.trials) == 3:
            raise error
        return evaluate(candidate)

    study = start(space, tmp_path / "broken", evaluate=broken)
    with pytest.raises(error):
        list(study.run(trials=6))
    assert len(read_study(tmp_path / "broken").trials) == len(study.trials) == 3
    study = start(space, tmp_path / "broken")
    list(study.run(trials=6))
    whole = start(space, tmp_path / "whole")
    list(whole.run(trials=6))
    assert [trial.architecture for trial in study.trials] == [trial.architecture for trial in whole.trials]
