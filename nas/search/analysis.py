"""What can be read off a study: how far it has come, and which choices made the difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from nas.choices import Option
from nas.errors import MissingExtraError
from nas.pareto import dominates, hypervolume
from nas.search.objective import losses
from nas.search.record import StudyRecord
from nas.search.trial import Trial

__all__ = ["hypervolume_curve", "hypervolume_share", "importances"]

_LEAST_TRIALS = 10  # of which anything can be said about choices
_TREES = 200
_SHUFFLES = 10


def hypervolume_curve(record: StudyRecord) -> tuple[float, ...]:
    """After each evaluated network: what share of the box of all values found the front so far dominates.

    The box reaches from the best to the worst value of each objective among all complete trials, so the
    curve of a study that goes on is drawn anew. With one objective it is the way from the worst value to
    the best.
    """
    complete = [trial for trial in record.trials if trial.state == "complete"]
    box, front, curve = _Box(record, complete), list[Trial](), list[float]()
    for trial in complete:
        beaten = [other for other in front if box.dominates(trial, other)]
        if not any(box.dominates(other, trial) for other in front):
            front = [*(other for other in front if other not in beaten), trial]
        curve.append(box.share(front) if trial in front else curve[-1])
    return tuple(curve)


def hypervolume_share(record: StudyRecord) -> float:
    """The last value of the curve; 0 without any complete trial."""
    complete = [trial for trial in record.trials if trial.state == "complete"]
    return _Box(record, complete).share(record.front.trials)


@final
class _Box:
    """All values that complete trials have, from the best to the worst of each objective."""

    def __init__(self, record: StudyRecord, complete: Sequence[Trial]) -> None:
        self._objectives = record.settings.objectives
        columns = list(zip(*map(self._losses, complete), strict=True))
        self._scales = [(min(column), max(column) - min(column) or 1.0) for column in columns]

    def share(self, front: Sequence[Trial]) -> float:
        """What part of the box some trials dominate."""
        points = [
            tuple(
                (loss - least) / width
                for loss, (least, width) in zip(self._losses(trial), self._scales, strict=True)
            )
            for trial in front
        ]
        return hypervolume(points, (1.0,) * len(self._objectives))

    def dominates(self, one: Trial, other: Trial) -> bool:
        return dominates(self._losses(one), self._losses(other))

    def _losses(self, trial: Trial) -> tuple[float, ...]:
        return losses(self._objectives, trial.values)


def importances(record: StudyRecord, metric: str) -> dict[str, float]:
    """The share of each choice in the differences of a metric, largest first; none of too few trials.

    A random forest learns the metric from the choices; a choice counts by how much worse it predicts when the
    choice is shuffled (Breiman, https://doi.org/10.1023/A:1010933404324). A choice not asked is an option
    too.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ImportError:
        raise MissingExtraError.of("scikit-learn", "search") from None
    complete = [trial for trial in record.trials if trial.state == "complete" and metric in trial.values]
    columns = _columns(complete)
    if len(complete) < _LEAST_TRIALS or not columns:
        return {}
    rows = list(zip(*columns.values(), strict=True))
    values = [trial.values[metric] for trial in complete]
    forest = RandomForestRegressor(_TREES, min_samples_leaf=2, max_features=0.5, random_state=0)
    found = permutation_importance(
        forest.fit(rows, values), rows, values, n_repeats=_SHUFFLES, random_state=0
    ).importances_mean.clip(0)
    total = float(found.sum()) or 1.0
    shares = {name: float(share) / total for name, share in zip(columns, found, strict=True)}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _columns(trials: Sequence[Trial]) -> dict[str, list[int]]:
    """Of each choice that differs, the rank of its option in each trial; -1 where it is not asked."""
    choices = [dict(trial.architecture.choices) for trial in trials]
    columns: dict[str, list[int]] = {}
    for name in dict.fromkeys(name for answers in choices for name in answers):
        options = sorted({answers[name] for answers in choices if name in answers}, key=_order)
        column = [options.index(answers[name]) if name in answers else -1 for answers in choices]
        if len(set(column)) > 1:
            columns[name] = column
    return columns


def _order(option: Option) -> tuple[bool, float, str]:
    is_number = isinstance(option, int | float)
    return not is_number, float(option) if isinstance(option, int | float) else 0.0, str(option)
