"""Cuts a part of each class off a set of labels."""

import numpy as np
from numpy.typing import NDArray

from nas.data.checks import Labels

__all__ = ["TEST_RATIO", "stratified_split"]

TEST_RATIO = 0.2
Indices = NDArray[np.intp]


def stratified_split(y: Labels, ratio: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of what stays and of the `ratio` cut off, at least one of each class, both ascending."""
    cut = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        cut[rng.permutation(members)[: max(1, round(ratio * len(members)))]] = True
    return np.flatnonzero(~cut), np.flatnonzero(cut)
