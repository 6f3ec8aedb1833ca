"""What one process does in a study's folder: takes networks to evaluate, and stores what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, final

from nas.search.claim import Claim, known_from_json
from nas.search.engine import Books
from nas.search.judge import FAILURES, Verdict, failure
from nas.search.proposals import Drawn, Proposals
from nas.search.proposer import Known
from nas.search.rungs import Rungs
from nas.search.store import Store
from nas.search.tally import Tally
from nas.search.trial import State, Trial
from nas.space import Candidate

__all__ = ["Result", "Turn", "Worker"]

_MOST_AT_ONCE = 3  # attempts at a network whose evaluation ended its worker, before all others are begun
_MOST_ATTEMPTS = 6


@final
class Turn(NamedTuple):
    """What came of one proposal: a network to evaluate, or none; and whether others may still come."""

    claim: Claim | None
    more: bool


@final
class Result(NamedTuple):
    """What an evaluation gave: its metrics, or the reason why it has failed."""

    values: Mapping[str, float]
    reason: str = ""
    seconds: float = 0.0


@final
class Worker:
    """One of the processes that search in a folder. What it does there, it does while the others wait."""

    def __init__(self, store: Store, proposals: Proposals, rungs: Rungs | None) -> None:
        self.tally = Tally()
        self._rungs = rungs
        self._store = store
        self._proposals = proposals
        with store.locked():
            self._catch_up()
            for draw in store.claims.abandoned().keys() & self.tally.draws:  # fulfilled, but not removed
                store.claims.remove(draw)

    @property
    def busy(self) -> bool:
        """Whether it has claims that are not told."""
        return self._store.claims.held

    def close(self) -> None:
        """Wait until what it stored is on the disk."""
        self._store.close()

    def next(self, most: float, *, here: bool) -> Turn:
        """Take a network, unless `most` are evaluated or about to be; `here` is kept in its claim."""
        with self._store.locked():
            self._catch_up()
            if self._rungs is None and self.tally.evaluated >= most:
                return Turn(None, more=False)
            left = self._left(here)
            if left and left[0].attempt < _MOST_AT_ONCE:
                return self._take_over(left)
            begun = self._store.claims.running() | {claim.draw: claim.to_json() for claim in left}
            draw = max([self.tally.next_draw, *(number + 1 for number in begun)])
            promoted = self._promote(draw, begun, here)
            if promoted is not None:
                return Turn(promoted, more=True)
            if self.tally.evaluated + sum(not values["rung"] for values in begun.values()) >= most:
                return self._take_over(left)
            others = [known_from_json(values) for values in begun.values()]
            for known in others:  # of the options that choices have, the first that were asked keep the name
                self._proposals.form.choices(known.architecture)
            drawn = self._proposals.draw(draw, self.tally, others)
            if drawn is None:
                return self._take_over(left)
            return Turn(self._assess(drawn, others, here), more=True)

    def tell(self, claim: Claim, result: Result) -> Trial:
        """Store an evaluated network with its metrics, or the reason why it has failed."""
        with suppress(OSError):  # the journal will say what is wrong
            self._store.claims.finish(claim.draw, result._asdict())
        try:
            with self._store.locked():
                self._catch_up()
                return self._conclude(claim, result)
        except BaseException:
            self._store.claims.leave(claim.draw)
            raise

    def give_up(self, claim: Claim) -> None:
        """Leave a network to whoever comes next, unless that has happened."""
        with self._store.locked():
            if self._store.claims.holds(claim.draw):
                self._store.claims.remove(claim.draw)

    def _catch_up(self) -> None:
        """Take in what was stored since, by whomever."""
        for trial, done in self._store.trials(len(self.tally.trials)):
            self._proposals.learn(trial, done)
            self.tally.add(trial)  # last: what an interruption leaves out is taken in the next time

    def _add(self, trial: Trial, verdict: Verdict, books: Books) -> None:
        self._store.add(self._proposals.form.of(trial, verdict.excess, books))
        self._catch_up()

    def _left(self, here: bool) -> list[Claim]:
        """Claims of workers that have ended, those first that ended the fewest.

        Not those that were fulfilled, which are stored, nor those that end all who take them, which failed.
        """
        left: list[Claim] = []
        for draw, (values, found) in self._store.claims.abandoned().items():
            attempt = values["attempt"] + values["here"]
            claim = Claim.from_json(
                self._proposals.problem.space, {**values, "here": here, "attempt": attempt}
            )
            if draw in self.tally.draws:
                self._store.claims.remove(draw)
            elif found is not None:
                self._conclude(claim, Result(**found))
            elif attempt >= _MOST_ATTEMPTS:
                reason = f"its evaluation has ended its process {_MOST_ATTEMPTS} times"
                self._conclude(claim, Result({}, reason))
            else:
                left.append(claim)
        return sorted(left, key=lambda claim: claim.attempt)

    def _take_over(self, left: Sequence[Claim]) -> Turn:
        """The first of the claims that were left; with none, others may come while somebody evaluates."""
        if not left:
            return Turn(None, more=bool(self._store.claims.running()))
        self._store.claims.take(left[0].draw, left[0].to_json())
        return Turn(left[0], more=True)

    def _promote(self, draw: int, running: Mapping[int, Mapping[str, Any]], here: bool) -> Claim | None:
        """Claim the network that is to be trained on next, if one is."""
        if self._rungs is None:
            return None
        problem = self._proposals.problem
        busy = {(values["architecture"]["id"], values["rung"]) for values in running.values()}
        found = self._rungs.promotion(self.tally.trials, problem.objectives, busy)
        if found is None:
            return None
        trial, rung = found
        verdict = problem.judge.recall(trial.values, trial.measured)
        seed = self._proposals.seed_of(self.tally.first[trial.architecture.id].draw)
        candidate = Candidate(problem.space, trial.architecture, seed=seed)
        claim = Claim(draw, candidate, verdict, {}, rung, here)
        self._store.claims.take(draw, claim.to_json())
        return claim

    def _conclude(self, claim: Claim, result: Result) -> Trial:
        reached: State = "partial" if self._rungs and claim.rung != self._rungs.last else "complete"
        state: State = "failed" if result.reason else reached
        known = claim.verdict.values
        values = known if result.reason else {**result.values, **known}
        architecture = claim.candidate.architecture
        trial = Trial(len(self.tally.trials), architecture, state, values, result.reason, draw=claim.draw)
        trial = replace(trial, seconds=result.seconds, measured=claim.verdict.measured, rung=claim.rung)
        self._add(trial, claim.verdict, claim.books)
        self._store.claims.remove(claim.draw)
        return trial

    def _assess(self, drawn: Drawn, others: Sequence[Known], here: bool) -> Claim | None:
        """Claim a proposal, or store why it is not evaluated."""
        state, verdict, reason = self._screen(drawn, others)
        if state is None:
            assert drawn.candidate is not None, "what does not build is not evaluated"
            rung = 0 if self._rungs else None
            claim = Claim(drawn.draw, drawn.candidate, verdict, drawn.books, rung, here)
            self._store.claims.take(claim.draw, claim.to_json())
            return claim
        number, values, violated = len(self.tally.trials), verdict.values, verdict.violated
        trial = Trial(number, drawn.architecture, state, values, reason, violated, draw=drawn.draw)
        self._add(replace(trial, measured=verdict.measured), verdict, drawn.books)
        return None

    def _screen(self, drawn: Drawn, others: Sequence[Known]) -> tuple[State | None, Verdict, str]:
        """What becomes of a proposal without an evaluation, if anything does, its costs, and why."""
        if drawn.candidate is None:
            assert drawn.error is not None, "what does not build says why"
            verdict = self._proposals.problem.judge.unbuildable(drawn.error)
            return "infeasible", verdict, verdict.reason
        earlier = self.tally.first.get(drawn.candidate.id)
        if earlier is not None:
            return "repeat", Verdict(earlier.values, {}), f"the network of trial {earlier.number}"
        if any(known.architecture.id == drawn.candidate.id for known in others):
            return "repeat", Verdict({}, {}), "a network that another worker evaluates"
        try:
            verdict = self._proposals.problem.judge(drawn.candidate, measuring=True)
        except FAILURES as error:
            return "failed", Verdict({}, {}), failure(error)
        return "infeasible" if verdict.violated else None, verdict, verdict.reason
