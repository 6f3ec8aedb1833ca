"""Holds that only the best are trained on, and that what is trained in part stays out of the front."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import StudyError
from nas.pareto import dominates
from nas.search import SAMPLERS, Maximize, Minimize, Rungs, Study, Trial, read_study
from nas.space import Architecture, Candidate, SearchSpace

Start = Callable[..., Study]
Accuracy = Callable[[str], float]

OBJECTIVES = (Maximize("accuracy"), Minimize("macs"))
RUNGS = Rungs((1, 3, 9))


def trial(number: int, rung: int, accuracy: float, macs: float, state: str = "partial") -> Trial:
    architecture = Architecture("tests:x", (), (1, 8, 8), 4, id=f"{number}")
    return Trial(number, architecture, state, {"accuracy": accuracy, "macs": macs}, rung=rung)  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [(), (3,), (3, 3), (9, 3), (0, 2)])
def test_rungs_rise(epochs: tuple[int, ...]) -> None:
    with pytest.raises(StudyError, match="at least two rising numbers of epochs"):
        Rungs(epochs)


def test_a_third_goes_on_the_non_dominated_first() -> None:
    there = [trial(0, 0, 0.5, 10), trial(1, 0, 0.6, 9), trial(2, 0, 0.4, 20)]
    assert RUNGS.promotion(there[:2], OBJECTIVES, set()) is None
    found = RUNGS.promotion(there, OBJECTIVES, set())
    assert found is not None and (found.trial.number, found.rung) == (1, 1)
    assert RUNGS.promotion(there, OBJECTIVES, {("1", 1)}) is None
    assert RUNGS.promotion([*there, trial(1, 1, 0.7, 9)], OBJECTIVES, set()) is None
    failed = trial(1, 1, 0, 0, "failed")
    assert RUNGS.promotion([*there, failed], OBJECTIVES, set()) is None


def test_the_highest_rung_comes_first() -> None:
    low = [trial(number, 0, number / 9, 10 + number) for number in range(9)]
    middle = [trial(number, 1, number / 9, 10 + number) for number in (6, 7, 8)]
    found = RUNGS.promotion([*low, *middle], OBJECTIVES, set())
    assert found is not None and found.rung == 2


def test_of_a_rank_those_far_apart_go_on() -> None:
    front = [
        trial(number, 0, accuracy, macs)
        for number, (accuracy, macs) in enumerate(
            [(0.10, 1), (0.11, 1.1), (0.12, 1.2), (0.5, 5), (0.88, 9.8), (0.9, 10)]
        )
    ]
    promoted = []
    while (found := RUNGS.promotion(front, OBJECTIVES, set())) is not None:
        promoted.append(found.trial.number)
        front.append(trial(found.trial.number, 1, 0.5, 5))
    assert promoted == [3, 5], "the knee, and then what is farthest from it"


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_search_by_rungs(
    sampler: str, space: SearchSpace, start: Start, accuracy: Accuracy, tmp_path: Path
) -> None:
    calls: list[tuple[str, int]] = []

    def evaluate(candidate: Candidate, *, epochs: int, checkpoint: Path) -> dict[str, float]:
        assert checkpoint.parent.parent == tmp_path / "run"
        calls.append((candidate.id, epochs))
        return {"accuracy": accuracy(candidate.id) + epochs / 10}

    settings = {"evaluate": evaluate, "rungs": RUNGS, "sampler": sampler}
    first = list(start(space, tmp_path / "run", **settings).run(trials=9))
    study = start(space, tmp_path / "run", **settings)
    trials = [*first, *study.run(trials=27)]

    assert study.trials == tuple(trials) == read_study(tmp_path / "run").trials
    assert study.record.evaluated == 27
    assert len(calls) == len(set(calls)), "no network is trained to the same rung twice"
    counts = Counter(epochs for _, epochs in calls)
    assert counts[1] == 27 and counts[3] >= 9 and counts[9] >= 3
    for place, each in enumerate(trials):
        if each.rung:
            found = RUNGS.promotion(trials[:place], OBJECTIVES, set())
            assert found is not None and (found.trial.architecture, found.rung) == (
                each.architecture,
                each.rung,
            )
    for id, epochs in calls:
        assert epochs == 1 or (id, {3: 1, 9: 3}[epochs]) in calls, "each climbs one rung at a time"
    assert {each.state for each in trials if each.rung == 2} == {"complete"}
    assert all(each.rung == 2 for each in study.front)
    final = [each for each in trials if each.rung == 2]
    points = [
        tuple(objective.loss(each.values[objective.metric]) for objective in OBJECTIVES) for each in final
    ]
    best = [
        each
        for each, point in zip(final, points, strict=True)
        if not any(dominates(other, point) for other in points)
    ]
    assert {each.number for each in study.front} == {each.number for each in best}
    assert next(iter(start(space, tmp_path / "run", **settings).run(trials=27)), None) is None


def test_seed_and_costs_stay_the_same_on_all_rungs(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    seeds: dict[str, set[int]] = {}

    def evaluate(candidate: Candidate, *, epochs: int, checkpoint: Path) -> dict[str, float]:
        seeds.setdefault(candidate.id, set()).add(candidate.seed)
        return {"accuracy": epochs / 10}

    trials = list(start(space, tmp_path, evaluate=evaluate, rungs=RUNGS).run(trials=9))
    assert all(len(each) == 1 for each in seeds.values())
    for each in trials:
        if each.rung:
            before = next(one for one in trials if one.architecture == each.architecture)
            assert {**before.values, "accuracy": 0} == {**each.values, "accuracy": 0}


def leaving(candidate: Candidate, *, epochs: int, checkpoint: Path) -> dict[str, float]:
    """A training that leaves its checkpoint."""
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.touch()
    return {"accuracy": epochs / 10}


def test_checkpoints_are_kept_as_long_as_they_may_be_needed(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    def evaluate(candidate: Candidate, *, epochs: int, checkpoint: Path) -> dict[str, float]:
        result = leaving(candidate, epochs=epochs, checkpoint=checkpoint)
        if epochs > 1 and int(candidate.id[-1], 16) < 6:
            raise RuntimeError("no memory left")
        return result

    trials = list(start(space, tmp_path, evaluate=evaluate, rungs=RUNGS).run(trials=27))
    last = {trial.architecture.id: trial.state for trial in trials if trial.evaluated}
    assert {"partial", "failed", "complete"} == set(last.values())
    kept = {path.stem for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {id for id, state in last.items() if state == "partial"}


def test_a_checkpoint_goes_with_a_result_that_another_found(
    space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    settings = {"evaluate": leaving, "rungs": RUNGS}
    study = start(space, tmp_path, **settings)
    for trial in study.run(trials=9):
        if trial.rung == 1:
            break
    claim = study.ask()
    while claim is not None and claim.rung != 2:
        study.tell(claim, leaving(claim.candidate, **study.how_far(claim)))
        claim = study.ask()
    assert claim is not None
    checkpoint = study.how_far(claim)["checkpoint"]
    assert checkpoint.exists()
    path = tmp_path / f"running/{claim.draw:06}.json"
    text = path.read_text()
    study.give_up(claim)
    path.write_text(text + json.dumps({"values": {"accuracy": 0.9}, "reason": "", "seconds": 1.0}) + "\n")
    found = next(start(space, tmp_path, **settings).run(trials=27))
    assert (found.architecture, found.state) == (claim.candidate.architecture, "complete")
    assert not checkpoint.exists()


def test_a_search_goes_on_with_its_rungs(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    def evaluate(candidate: Candidate, *, epochs: int, checkpoint: Path) -> dict[str, float]:
        return {"accuracy": epochs / 10}

    list(start(space, tmp_path, evaluate=evaluate, rungs=RUNGS).run(trials=2))
    with pytest.raises(StudyError, match=r"its rungs is Rungs\(epochs=\(1, 3, 9\).* and not None"):
        start(space, tmp_path)
