"""What blocks wrote into a net, so that it can be written again elsewhere."""

from __future__ import annotations

from typing import NamedTuple, final

from nas.chains import Chain, merged
from nas.op import Shape

__all__ = ["Fragment", "Mark"]


@final
class Mark(NamedTuple):
    """How much of a net was written at some moment."""

    size: int
    chains: int
    choices: int
    heads: int


@final
class Fragment(NamedTuple):
    """What a block wrote, relative to where it began, so that it can be written again elsewhere."""

    chains: tuple[Chain, ...]
    size: int
    names: tuple[str, ...]
    """Of its layers, within its scope."""
    results: tuple[tuple[int, Shape], ...]
    single: bool
    folded: bool = False

    def fold(self) -> Fragment:
        """The same with few chains: worth its time only if it is written again."""
        chains = merged(self.chains, [index for index, _ in self.results])
        return self._replace(chains=chains, folded=True)
