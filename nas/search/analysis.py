"""What can be read off a study: how far it has come, and which choices made the difference."""

from __future__ import annotations

from collections.abc import Sequence

from nas.choices import Option
from nas.errors import MissingExtraError
from nas.pareto import hypervolume
from nas.search.record import StudyRecord
from nas.search.trial import Front, Trial

__all__ = ["hypervolume_curve", "importances"]

_LEAST_TRIALS = 10  # of which anything can be said about choices
_TREES = 200
_SHUFFLES = 10


def hypervolume_curve(record: StudyRecord) -> tuple[float, ...]:
    """After each evaluated network: what share of the box of all values found the front so far dominates.

    The box reaches from the best to the worst value of each objective among all complete trials, so the
    curve of a study that goes on is drawn anew. With one objective it is the way from the worst value to
    the best.
    """
    objectives = record.settings.objectives
    complete = [trial for trial in record.trials if trial.state == "complete"]
    if not complete:
        return ()
    columns = [[each.loss(trial.values[each.metric]) for trial in complete] for each in objectives]
    scales = [(min(column), max(column) - min(column) or 1.0) for column in columns]
    front, curve = Front(objectives, ()), list[float]()
    for trial in complete:
        if trial in (front := Front.of((*front.trials, trial), objectives)).trials or not curve:
            points = [
                tuple(
                    (each.loss(best.values[each.metric]) - least) / width
                    for each, (least, width) in zip(objectives, scales, strict=True)
                )
                for best in front
            ]
            curve.append(hypervolume(points, (1.0,) * len(objectives)))
        else:
            curve.append(curve[-1])
    return tuple(curve)


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
