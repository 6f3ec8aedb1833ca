"""What a cascade answers, from the logits of all heads: the reference that exported files must equal.

Shapes: N batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Readout

__all__ = ["CascadeAnswer", "combined_logits", "decide", "exit_answers"]

_Floats = NDArray[np.float64]


@final
class CascadeAnswer(NamedTuple):
    """What exits said of some images."""

    logits: _Floats  # (N, K)
    confidence: _Floats  # (N,)
    exits: NDArray[np.int64]  # (N,)


def decide(
    heads: Sequence[NDArray[np.float32]],
    readout: Readout,
    *,
    exit: int,
    thresholds: Sequence[float] | None = None,
) -> CascadeAnswer:
    """The answer at an exit, or at one before it whose threshold the confidence reaches.

    `heads` are the logits (N, K) of each head by itself. An exit with a threshold above 1 is not asked.
    """
    count, classes = heads[0].shape
    limits = [2.0] * exit if thresholds is None else [*thresholds[:exit]]
    result = CascadeAnswer(np.zeros((count, classes)), np.zeros(count), np.full(count, -1))
    memory = _Memory(np.zeros((count, classes)), np.zeros(count))
    for k, limit in enumerate([*limits, -1.0]):
        if limit > 1 and not readout.needs_all_heads:
            continue
        logits, shares, memory = _combined(heads, readout, memory, exit=k)
        sure = _confidence(readout, shares, memory.agreeing, exits=len(heads))
        leave = (result.exits < 0) & (limit <= 1) & ~(sure < limit)
        result.logits[leave], result.confidence[leave], result.exits[leave] = logits[leave], sure[leave], k
    return result


def exit_answers(heads: Sequence[NDArray[np.float32]], readout: Readout) -> list[CascadeAnswer]:
    """What each exit answers where all heads before it were asked, by the logits of each head by itself."""
    count, classes = heads[0].shape
    memory = _Memory(np.zeros((count, classes)), np.zeros(count))
    answers = []
    for k in range(len(heads)):
        logits, shares, memory = _combined(heads, readout, memory, exit=k)
        sure = _confidence(readout, shares, memory.agreeing, exits=len(heads))
        answers.append(CascadeAnswer(logits, sure, np.full(count, k)))
    return answers


def combined_logits(heads: Sequence[NDArray[np.float32]], readout: Readout) -> list[_Floats]:
    """The logits of these, (N, K)."""
    return [answer.logits for answer in exit_answers(heads, readout)]


@final
class _Memory(NamedTuple):
    """What the heads so far add up to, (N, K), and how many in a row named the same class, (N,)."""

    total: _Floats
    agreeing: _Floats


def _combined(
    heads: Sequence[NDArray[np.float32]], readout: Readout, memory: _Memory, *, exit: int
) -> tuple[_Floats, _Floats, _Memory]:
    """Logits and probabilities of an exit, and the memory after it."""
    own, temperature = heads[exit].astype(np.float64), readout.temperature(exit)
    if readout.combine == "mean":
        total = memory.total + _softmax(own / temperature)
        shares = total / (exit + 1)
        logits = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    else:
        if readout.combine == "product":
            own = np.log(np.maximum(own, np.finfo(np.float32).tiny)) * ((exit + 1) / len(heads))
        logits = own if readout.combine == "last" else own + memory.total
        total, shares = logits, _softmax(logits / temperature)
    same = total.argmax(1) == memory.total.argmax(1)
    return logits, shares, _Memory(total, same * memory.agreeing + 1)


def _confidence(readout: Readout, shares: _Floats, agreeing: _Floats, *, exits: int) -> _Floats:
    classes = shares.shape[1]
    if readout.confidence == "patience":
        return (agreeing - 1) / max(1, exits - 1)
    if readout.confidence == "entropy":
        logs = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
        sure: _Floats = 1 + (shares * logs).sum(1) / np.log(max(2, classes))
        return np.maximum(0.0, sure)  # which rounding may miss where all classes are alike
    ordered = np.sort(shares, axis=1)
    margin = readout.confidence == "margin" and classes > 1
    best: _Floats = ordered[:, -1] - (ordered[:, -2] if margin else 0)
    return best


def _softmax(logits: _Floats) -> _Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: _Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
