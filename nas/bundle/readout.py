"""How the heads of a model answer: what becomes of their logits, and how sure an answer is."""

from dataclasses import dataclass
from typing import Any, Self, final

from nas.bundle import fields
from nas.errors import BundleError

__all__ = ["COMBINATIONS", "CONFIDENCES", "Readout"]

COMBINATIONS = ("last", "sum", "mean", "product")
CONFIDENCES = ("max_probability", "margin", "entropy", "patience")


@final
@dataclass(frozen=True, kw_only=True)
class Readout:
    """What a head gives: logits and a confidence from 0 to 1, where needed with a memory of earlier heads.

    `combine` says whose logits they are: those of the `last` head; the `sum` over the heads so far, as of
    boosted exits; of the `mean` of their probabilities, an ensemble; or of the `product` of their positive
    logits, those of head k of K to the power of k / K: a class that one head rules out stays out, so that
    what is likely hardly becomes unlikely again (https://arxiv.org/abs/2306.02652).

    `confidence` is the largest probability, its `margin` over the second, 1 less the `entropy` over its
    most, or `patience`, the share of the exits before that named the same class in a row
    (https://arxiv.org/abs/2006.04152).

    `temperatures`, one per exit, divide the logits before they become probabilities
    (https://arxiv.org/abs/1706.04599); where none are given they are 1.
    """

    combine: str = "last"
    confidence: str = "max_probability"
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, found, known in (
            ("combine", self.combine, COMBINATIONS),
            ("confidence", self.confidence, CONFIDENCES),
        ):
            if found not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but got {found!r}; choose one")
        if bad := [value for value in self.temperatures if not 0 < value < 1e6]:
            raise ValueError(f"temperatures must be above 0 and below 1e6, but got {bad[0]}; fit them again")

    @property
    def remembers(self) -> bool:
        """Whether a head reads a `state` that the head before it made, and makes one for the next."""
        return self.combine != "last" or self.confidence == "patience"

    @property
    def needs_all_heads(self) -> bool:
        """Whether the logits of an exit need every head before it."""
        return self.combine != "last"

    def temperature(self, exit: int) -> float:
        """What the logits of an exit are divided by."""
        return self.temperatures[exit] if self.temperatures else 1.0

    def to_json(self) -> dict[str, Any]:
        """The read-out as it stands in bundle.json."""
        return {
            "combine": self.combine,
            "confidence": self.confidence,
            "temperatures": list(self.temperatures),
        }

    @classmethod
    def from_json(cls, record: object, where: str = "readout") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        try:
            return cls(
                combine=fields.field(record, "combine", str, where),
                confidence=fields.field(record, "confidence", str, where),
                temperatures=fields.numbers(record, "temperatures", where),
            )
        except BundleError:
            raise
        except ValueError as error:
            raise fields.broken(where, f"be one that is known here, but {error}") from error
