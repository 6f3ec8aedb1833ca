"""What blocks wrote into a net, so that it can be written again elsewhere."""

from __future__ import annotations

from typing import NamedTuple, final

from nas.chains import Chain, merged
from nas.op import Shape

__all__ = ["Fragment", "Mark", "NameSpan"]


@final
class NameSpan(NamedTuple):
    """Names of consecutive nodes: a scope's prefix and the names within it."""

    prefix: str
    names: tuple[str, ...]


@final
class Mark(NamedTuple):
    """How much of a net was written at some moment."""

    size: int
    chains: int
    spans: int
    choices: int
    heads: int


@final
class Fragment(NamedTuple):
    """What a block wrote, relative to where it began, so that it can be written again elsewhere."""

    chains: tuple[Chain, ...]
    size: int
    spans: tuple[NameSpan, ...]
    prefix: str | None
    """What the names begin with; None once it is taken off."""
    results: tuple[tuple[int, Shape], ...]
    single: bool

    def fold(self) -> Fragment:
        """The same with few chains and one span of names: worth its time only if it is written again."""
        chains = merged(self.chains, [index for index, _ in self.results])
        skip = len(self.prefix or "")
        names = tuple([span.prefix[skip:] + name for span in self.spans for name in span.names])
        return self._replace(chains=chains, spans=(NameSpan("", names),), prefix=None)
