"""What results hold already, so that a run goes on, on another machine too, once its searches have ended.

Networks are not kept: those whose weights are needed once more are trained once more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import dynamic_answers
import dynamic_batch
import dynamic_search
import dynamic_time
from dynamic_data import Task, digest
from dynamic_search import PHASES, study_record
from dynamic_systems import CHOSEN, OPTIONS, Training, is_level, is_rival
from record import Record, Row

from nas.files import save_json

__all__ = ["drop_rows", "has_choice", "keep_choice", "restore_choice", "select", "unfinished"]

CLOSE_POINTS = 0.3
TIMED = (dynamic_time.FILE, dynamic_batch.FILE, dynamic_batch.WHOLE_FILE)


def keep_choice(record: Record, task: Task, folder: Path) -> None:
    """Keep with the results what the searches have trained, and what they came to."""
    for kind, _ in PHASES:
        found = study_record(kind, task, folder).frame()
        found.to_csv(record.raw / f"{task.name}_{kind}.csv", index=False)
    told = json.loads((folder / CHOSEN).read_text())
    save_json(_choice(record, task), {"settings": _settings(task), **told})


def has_choice(record: Record, task: Task) -> bool:
    """Whether the choice of equal searches is kept."""
    file = _choice(record, task)
    return file.exists() and json.loads(file.read_text())["settings"] == _settings(task)


def restore_choice(record: Record, task: Task, folder: Path) -> None:
    """Put the choice that is kept where the searches would."""
    told = json.loads(_choice(record, task).read_text())
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / CHOSEN, {name: told[name] for name in ("own", "levels")})


def _choice(record: Record, task: Task) -> Path:
    return record.raw / f"{task.name}_chosen.json"


def _settings(task: Task) -> str:
    """Digest of all that the searches depend on, but for the machine and the space."""
    search = dynamic_search
    starts = search.STARTS, search.COARSE, search.DEEPER
    counts = task.trials, task.short_epochs, task.seeds, PHASES, search.FINALISTS, search.LEVEL_FINALISTS
    return digest([task.times, task.budget, starts, counts, task.recipe.to_json(), task.data.hash])


def select(record: Record, task: Task, every: Iterable[Training]) -> list[Training]:
    """Those that count: an option is tried with other seeds only where it is close to the main run."""
    found = dynamic_answers.validated(record, task.name)

    def counts(training: Training) -> bool:
        if training.system not in OPTIONS or training.seed == 0:
            return True
        own, option = (found.get((system, 0)) for system in ("ours", training.system))
        return own is not None and option is not None and option >= own - CLOSE_POINTS

    return [training for training in every if counts(training)]


def unfinished(record: Record, task: Task, every: Sequence[Training], folder: Path) -> list[Training]:
    """Those that must still be trained, those whose answers are kept already last.

    With what a network says, or with what needs its weights, missing in the results, and its teacher.
    """
    answered = _named(record, dynamic_answers.FILE, task)
    found: dict[str, Training] = {}
    for training in sorted(every, key=lambda each: (each.system, str(each.seed)) in answered):
        missed = not training.done(folder).exists() and _is_missed(record, task, training)
        for needed in (training.teacher, training):
            if missed and needed and not needed.done(folder).exists():
                found.setdefault(needed.key, needed)
    return [*found.values()]


def _is_missed(record: Record, task: Task, training: Training) -> bool:
    needs = [(dynamic_answers.FILE, training.system)]
    if dynamic_batch.runs_budgets(training):
        needs.append((dynamic_batch.FILE, training.system))
    if is_level(training.system):
        needs.append((dynamic_answers.FILE, dynamic_answers.ENSEMBLE))
    seed = str(training.seed)
    return any((system, seed) not in _named(record, file, task) for file, system in needs)


def drop_rows(record: Record, task: Task, every: Sequence[Training]) -> None:
    """Forget what other networks or recipes have left, and times of another machine unless they are whole."""
    keys = {training.name: training.key for training in every}
    levels = [training for training in every if is_level(training.system)]
    for seed in range(task.seeds):
        members = "+".join(each.key for each in levels if each.seed == seed)
        keys[f"{dynamic_answers.ENSEMBLE}-{seed}"] = members

    def counts(row: Row) -> bool:
        return keys.get(f"{row['system']}-{row['seed']}") == row["network"]

    for file in (dynamic_answers.FILE, *TIMED):
        _keep(record, file, task, counts)
    if not _is_timed(record, task, every):
        for file in TIMED:
            _keep(record, file, task, lambda row: row["machine"] == dynamic_time.machine_id())


def _keep(record: Record, file: str, task: Task, counts: Callable[[Row], bool]) -> None:
    """Of the rows of a task only those that count."""
    record.keep(file, lambda row: row["task"] != task.name or counts(row))


def _is_timed(record: Record, task: Task, every: Iterable[Training]) -> bool:
    """Whether all that is timed is."""
    timed, budgets, whole = (_named(record, file, task) for file in TIMED)
    return all(
        (not dynamic_time.is_timed(each) or (each.system, str(each.seed)) in timed)
        and (not dynamic_batch.runs_budgets(each) or (each.system, str(each.seed)) in budgets)
        and (not is_rival(each.system) or (each.system, str(each.seed)) in whole)
        for each in every
    )


def _named(record: Record, file: str, task: Task) -> set[tuple[str, str]]:
    """System and seed of each row of a task."""
    return {(row["system"], row["seed"]) for row in record.rows(file) if row["task"] == task.name}
