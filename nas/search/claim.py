"""A network that one worker evaluates, while nobody else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from nas.search.judge import Verdict
from nas.search.proposer import Known
from nas.space import Architecture, Candidate, SearchSpace

__all__ = ["Claim", "known_from_json"]


@final
@dataclass(frozen=True)
class Claim:
    """A network to be evaluated, by this process only, until it is told or the process ends."""

    draw: int
    """Which proposal of the search it is, from 0."""
    candidate: Candidate
    verdict: Verdict
    books: Mapping[str, Any]
    """What the sampler remembers of it."""
    rung: int | None = None
    """Up to which rung it is to be trained; None in a search without rungs."""
    here: bool = True
    """Whether the process that holds it evaluates it itself, so that a bad network may end that."""
    attempt: int = 0
    """How many processes that evaluated it themselves have ended without a result."""

    def to_json(self) -> dict[str, Any]:
        return {
            "draw": self.draw,
            "architecture": self.candidate.architecture.to_json(),
            "seed": self.candidate.seed,
            "values": dict(self.verdict.values),
            "excess": dict(self.verdict.excess),
            "measured": list(self.verdict.measured),
            "books": dict(self.books),
            "rung": self.rung,
            "here": self.here,
            "attempt": self.attempt,
        }

    @staticmethod
    def from_json(space: SearchSpace, values: Mapping[str, Any]) -> Claim:
        known = known_from_json(values)
        candidate = Candidate(space, known.architecture, seed=values["seed"])
        kept = {name: values[name] for name in ("draw", "books", "rung", "here", "attempt")}
        return Claim(candidate=candidate, verdict=known.verdict, **kept)


def known_from_json(values: Mapping[str, Any]) -> Known:
    """The network of a claim of any process."""
    verdict = Verdict(values["values"], values["excess"], measured=tuple(values["measured"]))
    return Known(Architecture.from_json(values["architecture"]), verdict)
