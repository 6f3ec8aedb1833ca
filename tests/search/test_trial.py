"""Holds that the front is the true one, and that trials and settings come back from JSON as they were."""

import json
from random import Random

import pytest

from nas.errors import StudyError
from nas.pareto import dominates
from nas.search import Front, Interval, Maximize, Minimize, Settings, Trial
from nas.search.objective import objective_from_json
from nas.space import Architecture

OBJECTIVES = (Maximize("accuracy"), Minimize("macs"))
ARCHITECTURE = Architecture("tests:none", (("depth", 2), ("exit", True)), (1, 8, 8), 4, "0" * 32)


def trials(rng: Random) -> list[Trial]:
    states = ("complete", "complete", "infeasible", "repeat")
    return [
        Trial(i, ARCHITECTURE, rng.choice(states), {"accuracy": rng.randrange(9), "macs": rng.randrange(9)})
        for i in range(25)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_front_is_what_nothing_dominates(seed: int) -> None:
    made = trials(Random(seed))
    points = {t: (-t.values["accuracy"], t.values["macs"]) for t in made if t.state == "complete"}
    best = {t for t in points if not any(dominates(point, points[t]) for point in points.values())}
    front = Front.of(made, OBJECTIVES)
    assert set(front) == best
    assert len(front) == len(best)
    macs = [trial.values["macs"] for trial in front]
    assert macs == sorted(macs)


def test_json_round_trips() -> None:
    trial = Trial(3, ARCHITECTURE, "infeasible", {"macs": 3e6}, "too large", ("macs",), 1.5)
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial
    settings = Settings(
        space="tests:none",
        input_shape=(1, 8, 8),
        num_classes=4,
        objectives=OBJECTIVES,
        budget="macs<=2M",
        sampler="tpe",
        seed=1,
    )
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    front = json.loads(json.dumps(Front(OBJECTIVES, (trial,)).to_json()))
    assert [objective_from_json(values) for values in front["objectives"]] == list(OBJECTIVES)
    assert [Trial.from_json(values) for values in front["trials"]] == [trial]


def test_damaged_json() -> None:
    with pytest.raises(StudyError, match="a trial must have"):
        Trial.from_json({"number": 1})
    with pytest.raises(StudyError, match="an objective must read like"):
        objective_from_json({"enlarge": "accuracy"})
    with pytest.raises(StudyError, match="all its settings"):
        Settings.from_json({"format": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("space", 1),
        ("input_shape", "abc"),
        ("input_shape", 8),
        ("num_classes", "4"),
        ("objectives", "accuracy"),
        ("objectives", [[]]),
        ("budget", "macs<=2 parsec"),
        ("sampler", None),
        ("seed", True),
    ],
)
def test_settings_of_wrong_types(name: str, value: object) -> None:
    settings = {
        "format": 1,
        "space": "tests:none",
        "input_shape": [1, 8, 8],
        "num_classes": 4,
        "objectives": [{"maximize": "accuracy"}],
        "budget": "macs<=2M",
        "sampler": "tpe",
        "seed": 1,
    }
    assert Settings.from_json(settings).seed == 1
    with pytest.raises(StudyError, match=r"one is damaged.*; restore it"):
        Settings.from_json(settings | {name: value})


def test_interval_in_order() -> None:
    with pytest.raises(StudyError, match="low <= value <= high"):
        Interval(2, 1, 3)
