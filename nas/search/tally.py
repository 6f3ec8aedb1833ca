"""What a search counts of its trials, as they come: a study of thousands is not gone through for each."""

from __future__ import annotations

from typing import final

from nas.search.trial import Trial

__all__ = ["Tally"]


@final
class Tally:
    """All trials of a study in their order, and what follows from them."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.complete: list[Trial] = []
        self.first: dict[str, Trial] = {}
        """The first trial of each network, by id."""
        self.draws: set[int] = set()
        self.next_draw = 0
        self.partial: list[Trial] = []
        self.evaluated = 0
        """Networks on which an evaluation was spent."""
        self.failed = 0
        """Those of them that have failed."""
        self.idle = 0
        """Proposals since the last of these."""
        self.failures = 0
        """Evaluations that failed since the last that did not."""

    def add(self, trial: Trial) -> None:
        self.trials.append(trial)
        if trial.state != "repeat":  # which may be stored before the trial that it repeats
            self.first.setdefault(trial.architecture.id, trial)
        self.draws.add(trial.draw)
        self.next_draw = max(self.next_draw, trial.draw + 1)
        if not trial.evaluated:
            self.idle += 1
            return
        self.evaluated += not trial.rung
        self.failed += trial.state == "failed" and not trial.rung
        self.idle = 0
        self.failures = self.failures + 1 if trial.state == "failed" else 0
        if trial.state == "complete":
            self.complete.append(trial)
        elif trial.state == "partial":
            self.partial.append(trial)
