"""A run of the benchmark of dynamic networks goes on from what results hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import dynamic_answers
import dynamic_batch
import dynamic_data
import dynamic_time
import numpy as np
import pytest
import record
from dynamic_answers import ENSEMBLE
from dynamic_kept import drop_rows, select, unfinished
from dynamic_search import space_of
from dynamic_systems import CHOSEN, Training, is_level, is_rival, trainings
from record import Record

from nas.files import save_json

TASK = replace(dynamic_data.TASKS["cifar10"], seeds=2)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """An empty folder of results, black images as data, and searches that came to some networks."""
    images, labels = np.zeros((20, 32, 32, 3), np.uint8), np.arange(20) % 10
    arrays = {f"x_{part}": images for part in ("train", "test")}
    np.savez(tmp_path / "images.npz", **arrays, y_train=labels, y_test=labels)
    monkeypatch.setenv(dynamic_data.CIFAR, str(tmp_path / "images.npz"))
    dynamic_data._data.cache_clear()
    own = space_of("dynamic", TASK).sample(Random(9)).to_json()
    levels = [space_of("static", TASK).sample(Random(level)).to_json() for level in range(3)]
    save_json(tmp_path / CHOSEN, {"own": own, "levels": levels})
    monkeypatch.setattr(record, "ROOT", tmp_path)
    yield Record("dynamic", "", [])
    dynamic_data._data.cache_clear()


@pytest.fixture
def every(results: Record, tmp_path: Path) -> list[Training]:
    return list(trainings(TASK, tmp_path))


def row(training: Training, **told: object) -> dict[str, object]:
    named = {"task": TASK.name, "system": training.system, "seed": training.seed, "network": training.key}
    return {**named, **told}


def answer(results: Record, every: list[Training], val: float = 0.5) -> None:
    """Rows of what all networks say, and of their ensembles."""
    results.add(dynamic_answers.FILE, *(row(training, val=val) for training in every))
    for seed in range(TASK.seeds):
        levels = [training for training in every if is_level(training.system) and training.seed == seed]
        named = {"task": TASK.name, "system": ENSEMBLE, "seed": seed}
        keys = "+".join(training.key for training in levels)
        results.add(dynamic_answers.FILE, {**named, "network": keys, "val": val})


def time(results: Record, every: list[Training], machine: str) -> None:
    """Rows of all that is timed on a machine."""
    for file, counts in (
        (dynamic_time.FILE, dynamic_time.is_timed),
        (dynamic_batch.FILE, dynamic_batch.runs_budgets),
        (dynamic_batch.WHOLE_FILE, lambda training: is_rival(training.system)),
    ):
        results.add(file, *(row(training, machine=machine) for training in every if counts(training)))


def names(found: list[Training]) -> set[str]:
    return {training.name for training in found}


def test_without_results_all_is_trained(results: Record, every: list[Training], tmp_path: Path) -> None:
    assert names(unfinished(results, TASK, every, tmp_path)) == names(every)


def test_what_is_not_answered_yet_comes_first(results: Record, every: list[Training], tmp_path: Path) -> None:
    answer(results, [training for training in every if training.system in ("ours", "msdnet")])
    found = [training.system for training in unfinished(results, TASK, every, tmp_path)]
    assert found[-2:] == ["ours", "ours"] and found.index("msdnet") < found.index("teacher")


def test_what_is_answered_is_trained_again_only_where_weights_are_asked_for(
    results: Record, every: list[Training], tmp_path: Path
) -> None:
    answer(results, every)
    again = [training for training in every if dynamic_batch.runs_budgets(training)]
    assert names(again) == {"ours-0", "ours-1", "msdnet-0"}
    assert names(unfinished(results, TASK, every, tmp_path)) == names(again)
    time(results, every, dynamic_time.machine_id())
    assert unfinished(results, TASK, every, tmp_path) == []


def test_missing_answers_ask_for_the_teacher_too(
    results: Record, every: list[Training], tmp_path: Path
) -> None:
    answer(results, every)
    time(results, every, dynamic_time.machine_id())
    results.keep(dynamic_answers.FILE, lambda each: (each["system"], each["seed"]) != ("teacher", "1"))
    found = unfinished(results, TASK, every, tmp_path)
    assert [training.name for training in found] == ["msdnet-0", "teacher-1"]


def test_an_ensemble_that_is_missing_asks_for_its_networks(
    results: Record, every: list[Training], tmp_path: Path
) -> None:
    answer(results, every)
    time(results, every, dynamic_time.machine_id())
    results.keep(dynamic_answers.FILE, lambda each: (each["system"], each["seed"]) != (ENSEMBLE, "1"))
    assert names(unfinished(results, TASK, every, tmp_path)) == {"static0-1", "static1-1", "static2-1"}


def test_rows_of_other_networks_are_dropped_and_of_other_data_kept(
    results: Record, every: list[Training]
) -> None:
    answer(results, every)
    results.add(dynamic_answers.FILE, {**row(every[0], val=0.9), "network": "of-another-recipe"})
    results.add(dynamic_answers.FILE, {**row(every[0], val=0.7), "task": "fashion"})
    results.add(dynamic_answers.FILE, {**row(every[0], val=0.9), "system": ENSEMBLE})
    before = results.rows(dynamic_answers.FILE)
    drop_rows(results, TASK, every)
    assert results.rows(dynamic_answers.FILE) == [each for each in before if each["val"] != "0.9"]


def test_times_of_another_machine_count_only_where_they_are_whole(
    results: Record, every: list[Training]
) -> None:
    files = dynamic_time.FILE, dynamic_batch.FILE, dynamic_batch.WHOLE_FILE
    time(results, every, "another")
    whole = [results.rows(file) for file in files]
    drop_rows(results, TASK, every)
    assert [results.rows(file) for file in files] == whole
    results.keep(dynamic_batch.WHOLE_FILE, lambda each: each["system"] != "static2")
    here = row(every[0], machine=dynamic_time.machine_id())
    results.add(dynamic_time.FILE, here)
    drop_rows(results, TASK, every)
    told = [[each["machine"] for each in results.rows(file)] for file in files]
    assert told == [[here["machine"]], [], []]


@pytest.mark.parametrize(("val", "count"), [(0.4969, 1), (0.4971, 2)])
def test_an_option_far_behind_has_one_seed(
    results: Record, every: list[Training], val: float, count: int
) -> None:
    answer(results, [each for each in every if each.system != "weighted"])
    weighted = [each for each in every if each.system == "weighted"]
    results.add(dynamic_answers.FILE, row(weighted[0], val=val))
    found = select(results, TASK, every)
    assert [each for each in found if each.system == "weighted"] == weighted[:count]
    assert [each for each in found if each not in weighted] == [
        each for each in every if each not in weighted
    ]
