"""Holds curves and shares against what can be computed by hand."""

from collections.abc import Sequence

import pytest

from nas.pareto import hypervolume
from nas.search import (
    Maximize,
    Minimize,
    Settings,
    StudyRecord,
    Trial,
    hypervolume_curve,
    hypervolume_share,
    importances,
)
from nas.space import Architecture


def record_of(points: Sequence[tuple[float, float]], choices: Sequence[dict[str, int]] = ()) -> StudyRecord:
    objectives = (Maximize("accuracy"), Minimize("macs"))
    settings = Settings("tests:x", (1, 8, 8), 4, objectives, "", "random", 0)
    trials = []
    for number, (accuracy, macs) in enumerate(points):
        answers = tuple(choices[number].items()) if choices else ()
        architecture = Architecture("tests:x", answers, (1, 8, 8), 4, id=f"{number}")
        trials.append(Trial(number, architecture, "complete", {"accuracy": accuracy, "macs": macs}))
    return StudyRecord(settings, tuple(trials))


def test_curve_is_the_hypervolume_in_the_box() -> None:
    points = [(0.5, 50.0), (0.9, 100.0), (0.4, 80.0), (0.8, 40.0), (0.1, 20.0)]
    curve = hypervolume_curve(record_of(points))
    scaled = [((0.9 - accuracy) / 0.8, (macs - 20) / 80) for accuracy, macs in points]
    for count in range(1, 6):
        assert curve[count - 1] == pytest.approx(hypervolume(scaled[:count], (1.0, 1.0)))
    assert list(curve) == sorted(curve)
    assert hypervolume_share(record_of(points)) == curve[-1]


def test_curve_of_nothing_and_of_one() -> None:
    assert hypervolume_curve(record_of([])) == ()
    assert hypervolume_share(record_of([])) == 0
    assert hypervolume_curve(record_of([(0.5, 10.0)])) == (1.0,)


def test_choices_count_as_they_matter() -> None:
    choices = [
        {"width": width, "kernel": kernel, "noise": number % 5} | ({"rank": 4 + kernel} if width > 8 else {})
        for number, (width, kernel) in enumerate([(4, 3), (8, 3), (16, 3), (4, 5), (8, 5), (16, 5)] * 6)
    ]
    points = [(each["width"] / 16 + each["kernel"] / 100, 1.0) for each in choices]
    shares = importances(record_of(points, choices), "accuracy")
    assert next(iter(shares)) == "width"
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["noise"] < 0.02 < shares["kernel"] + shares["rank"]
    assert importances(record_of(points[:9], choices), "accuracy") == {}
    assert importances(record_of(points, choices), "loss") == {}
