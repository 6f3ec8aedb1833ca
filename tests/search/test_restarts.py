"""Holds that it makes no difference in how many runs a search is done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.search import Study, read_study
from nas.space import SearchSpace

Start = Callable[..., Study]


@pytest.mark.parametrize("sampler", ["known-cost", "local", "evolution"])
def test_restarts_change_nothing_where_few_fit(
    sampler: str, space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    settings = {"sampler": sampler, "budget": "macs<=2K", "seed": 1}
    whole = list(start(space, tmp_path / "whole", **settings).run(trials=12))
    for count in (3, 7, 12):
        list(start(space, tmp_path / "parts", **settings).run(trials=count))
    parts = read_study(tmp_path / "parts").trials
    assert [trial.architecture for trial in parts] == [trial.architecture for trial in whole]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_study_may_be_run_twice(sampler: str, space: SearchSpace, start: Start, tmp_path: Path) -> None:
    whole = list(start(space, tmp_path / "whole", sampler=sampler).run(trials=30))
    study = start(space, tmp_path / "twice", sampler=sampler)
    twice = [*study.run(trials=14), *study.run(trials=30)]
    assert [trial.architecture for trial in twice] == [trial.architecture for trial in whole]
