"""The names of the files and tensors of an exported model, which are the same in every bundle."""

from collections.abc import Iterable

__all__ = [
    "CONFIDENCE",
    "EXIT",
    "FUSED",
    "IMAGE",
    "LOGITS",
    "MAX_EXIT",
    "NEXT_STATE",
    "RESERVED",
    "STATE",
    "THRESHOLDS",
    "exit_segments",
]

IMAGE = "x"
LOGITS = "logits"
CONFIDENCE = "confidence"
STATE, NEXT_STATE = "state", "next_state"
MAX_EXIT, THRESHOLDS, EXIT = "max_exit", "thresholds", "exit"

RESERVED = frozenset({IMAGE, LOGITS, CONFIDENCE, STATE, NEXT_STATE, MAX_EXIT, THRESHOLDS, EXIT})
"""Names that no feature of a network may have."""

FUSED = "fused"


def exit_segments(exit: int, asked: Iterable[int] = ()) -> frozenset[str]:
    """Names of the segments that one exit runs, as far as a model has them.

    Of the heads that is its own, and those that are `asked` on the way.
    """
    return frozenset({f"trunk_{k}" for k in range(exit + 1)} | {f"head_{k}" for k in (*asked, exit)})
