"""What results hold already, so that a run goes on, on another machine too, with these small files alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import dynamic_answers
import dynamic_batch
import dynamic_time
from dynamic_data import Task, digest
from dynamic_search import PHASES, study_record
from dynamic_systems import CHOSEN, OPTIONS, Training, is_level
from record import Record, Row

from nas.files import save_json

__all__ = ["check_rows", "keep_choice", "restore_choice", "unfinished", "wanted"]

CLOSE_POINTS = 0.3
FILES = (dynamic_answers.FILE, dynamic_time.FILE, dynamic_batch.FILE, dynamic_batch.WHOLE_FILE)


def keep_choice(record: Record, task: Task, folder: Path) -> None:
    """Keep with the results what the searches have trained, and what they came to."""
    for kind, _ in PHASES:
        found = study_record(kind, task, folder).frame()
        found.to_csv(record.raw / f"{task.name}_{kind}.csv", index=False)
    told = json.loads((folder / CHOSEN).read_text())
    save_json(_choice(record, task), {"searches": _searches(task), **told})


def restore_choice(record: Record, task: Task, folder: Path) -> bool:
    """Whether the choice of equal searches is kept; it then stands in the folder, as if made there."""
    file = _choice(record, task)
    told = json.loads(file.read_text()) if file.exists() else {}
    if told.pop("searches", None) != _searches(task):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    save_json(folder / CHOSEN, told)
    return True


def _choice(record: Record, task: Task) -> Path:
    return record.raw / f"{task.name}_chosen.json"


def _searches(task: Task) -> str:
    """Digest of all that the searches depend on, but for the machine."""
    told = [task.times, task.budget, task.trials, task.short_epochs, task.seeds, PHASES]
    return digest([*told, task.recipe.to_json(), task.data.hash])


def wanted(record: Record, task: Task, every: Iterable[Training]) -> list[Training]:
    """Those that count: an option is tried with other seeds only where it is close to the main run."""
    found = _validation(record, task)

    def counts(training: Training) -> bool:
        if training.system not in OPTIONS or training.seed == 0:
            return True
        own, option = (found.get((system, "0")) for system in ("ours", training.system))
        return own is not None and option is not None and option >= own - CLOSE_POINTS

    return [training for training in every if counts(training)]


def _validation(record: Record, task: Task) -> dict[tuple[str, str], float]:
    """Mean accuracy of all exits on validation images, in percent, by system and seed."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in _rows(record, dynamic_answers.FILE, task):
        found.setdefault((row["system"], row["seed"]), []).append(100 * float(row["val"]))
    return {name: mean(accuracies) for name, accuracies in found.items()}


def unfinished(record: Record, task: Task, every: Sequence[Training], folder: Path) -> list[Training]:
    """Those that must still be trained: what they say, or what needs their weights, is not in the results."""
    keyed: dict[str, Training] = {}
    for training in every:
        if not training.done(folder).exists() and _is_missed(record, task, training):
            teacher = training.teacher
            if teacher and not teacher.done(folder).exists():
                keyed.setdefault(teacher.key, teacher)
            keyed.setdefault(training.key, training)
    return [*keyed.values()]


def _is_missed(record: Record, task: Task, training: Training) -> bool:
    needs = [(dynamic_answers.FILE, training.system)]
    if dynamic_batch.runs_budgets(training):
        needs.append((dynamic_batch.FILE, training.system))
    if is_level(training.system):
        needs.append((dynamic_answers.FILE, dynamic_answers.ENSEMBLE))
    seed = str(training.seed)
    return any(
        not any((row["system"], row["seed"]) == (system, seed) for row in _rows(record, file, task))
        for file, system in needs
    )


def check_rows(record: Record, task: Task, every: Iterable[Training]) -> None:
    """What other networks or recipes have left must not stand beside what these leave."""
    keys = {training.name: training.key for training in every}
    for file in FILES:
        for row in _rows(record, file, task):
            if row["system"] == dynamic_answers.ENSEMBLE:
                continue  # its members are checked
            if keys.get(f"{row['system']}-{row['seed']}") != row["network"]:
                raise RuntimeError(
                    f"rows of {file} must be of the networks trained now, but {row['system']} is not; "
                    f"remove the files {', '.join(FILES)} of results/dynamic"
                )


def _rows(record: Record, file: str, task: Task) -> Iterator[Row]:
    return (row for row in record.rows(file) if row["task"] == task.name)
