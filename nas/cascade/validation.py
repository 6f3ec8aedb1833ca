"""What the exits of a network say of labeled images: all that thresholds are solved from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Readout
from nas.cascade.answer import exit_answers
from nas.errors import DataError

__all__ = ["Validation", "image_weights", "weighted_share"]

_UNEVEN = 10  # images of the most frequent class for each of the rarest, from which on it is said


class Answered(Protocol):
    """What an exit says of some images: `CascadeAnswer`, or a `Prediction` of the runtime."""

    @property
    def logits(self) -> NDArray[np.floating]: ...

    @property
    def confidence(self) -> NDArray[np.floating]: ...


@final
@dataclass(frozen=True, eq=False)
class Validation:
    """How sure each exit is of each image, (N, exits), whether it is right, and how much an image counts.

    Weights (N,) add up to 1. `asks_all` says that every head must run for those behind it to answer.
    """

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    weights: NDArray[np.float64]
    asks_all: bool = False
    never: float = 2.0
    """The threshold that no confidence reaches: of an exit that is not asked, or is to no effect."""

    @classmethod
    def of(
        cls,
        heads: Sequence[NDArray[np.float32]],
        labels: NDArray[np.integer],
        readout: Readout | None = None,
        *,
        class_shares: Sequence[float] | None = None,
    ) -> Self:
        """From the logits (N, K) of each head by itself, the labels (N,) and how the heads answer.

        Images count alike, or, where the device will see other shares of the K classes than these images
        have, such that each class has its share of `class_shares`.
        """
        readout = readout or Readout()
        _check_heads(heads, labels)
        return cls.of_answers(exit_answers(heads, readout), labels, readout, class_shares=class_shares)

    @classmethod
    def of_answers(
        cls,
        answers: Sequence[Answered],
        labels: NDArray[np.integer],
        readout: Readout,
        *,
        class_shares: Sequence[float] | None = None,
        name: str = "validation",
    ) -> Self:
        """The same from what every exit answers where all heads before it were asked.

        Errors call the images by their `name`. That classes are uneven is said of those for validation only.
        """
        if not answers:
            raise DataError(
                "there must be answers of at least one exit, but got none; give those of all exits"
            )
        patient = readout.confidence == "patience"
        classes = answers[0].logits.shape[1]
        _check_images(labels, len(answers), classes=classes, name=name)
        weights = image_weights(labels, classes, class_shares, name=name)
        if class_shares is None and name == "validation":
            _warn_if_uneven(labels, classes)
        return cls(
            confidence=np.stack([answer.confidence for answer in answers], axis=1).astype(np.float64),
            right=np.stack([answer.logits.argmax(axis=1) == labels for answer in answers], axis=1),
            weights=weights,
            asks_all=readout.needs_all_heads or patient,
            never=1.0 if patient else 2.0,  # an exit that is not asked would not count as one that agrees
        )

    @property
    def exits(self) -> int:
        return int(self.right.shape[1])

    @property
    def images(self) -> float:
        """So many images of equal weight tell as much (Kish's effective sample size)."""
        return float(1 / np.square(self.weights).sum())

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of every exit."""
        return tuple(map(self.share, self.right.T))

    def share(self, right: NDArray[np.bool_]) -> float:
        """Of the images for which it is true, (N,)."""
        return weighted_share(self.weights, right)


def weighted_share(weights: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Of images whose weights (N,) add up to 1, those for which it is true, (N,).

    Of images that count alike it is their number over all, whatever the sum of weights would round to: equal
    numbers are equal shares.
    """
    if (weights == weights[0]).all():
        return float(right.mean())
    return min(1.0, float(weights @ right))


def _check_heads(heads: Sequence[NDArray[np.float32]], labels: NDArray[np.integer]) -> None:
    if not heads:
        raise DataError("there must be logits of at least one head, but got none; give those of all heads")
    count, classes = heads[0].shape
    if len(labels) != count or any(head.shape != (count, classes) for head in heads):
        shapes = [head.shape for head in heads]
        raise DataError(
            f"each head must tell of each label's image, but got {shapes} for {len(labels)} labels; "
            "give logits and labels of the same images"
        )
    if not all(np.isfinite(head).all() for head in heads):
        raise DataError("logits must be finite, but some are not; train the network again")


def _check_images(labels: NDArray[np.integer], exits: int, *, classes: int, name: str) -> None:
    """`DataError` for images of which no threshold can be learned."""
    count, found = len(labels), np.unique(labels)
    if count < exits:
        raise DataError(
            f"{name} must have at least as many images as the network has exits, {exits}, "
            f"but has {count}; keep more images for it"
        )
    if len(found) == 1 < classes:
        raise DataError(
            f"{name} must have images of several classes, but all {count} are of class {found[0]}, of "
            "which any exit may be sure; keep images of the others too"
        )


def _warn_if_uneven(labels: NDArray[np.integer], classes: int) -> None:
    counts = np.bincount(labels, minlength=classes)
    rare, most = int(counts.argmin()), int(counts.argmax())
    if counts[most] > _UNEVEN * counts[rare]:
        warnings.warn(
            f"thresholds hold for images like those of validation, of which {counts[most]} are of class "
            f"{most} and {counts[rare]} of class {rare}; give class_shares if the device sees others",
            stacklevel=4,
        )


def image_weights(
    labels: NDArray[np.integer],
    classes: int,
    shares: Sequence[float] | None = None,
    *,
    name: str = "validation",
) -> NDArray[np.float64]:
    """How much each image counts, (N,), so that each class has its share; all alike without shares."""
    if not len(labels):
        raise DataError(f"there must be {name} images, but got none; keep some")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(
            f"{name} labels must be from 0 to {classes - 1}, but go from {labels.min()} to {labels.max()}; "
            "give those of the network's classes"
        )
    if shares is None:
        return np.full(len(labels), 1 / len(labels))
    counts, wanted = np.bincount(labels, minlength=classes), np.asarray(shares, np.float64)
    if wanted.shape != (classes,) or not (wanted >= 0).all() or not 0 < wanted.sum() < np.inf:
        raise DataError(
            f"class_shares must be a number of at least 0 for each of {classes} classes, but got {shares}; "
            "give such ones"
        )
    if missing := np.flatnonzero((wanted > 0) & (counts == 0)).tolist():
        rule = f"a class with a share must have {name} images"
        raise DataError(f"{rule}, but class {missing[0]} has none; keep some")
    each = wanted / wanted.sum() / np.maximum(counts, 1)
    weights: NDArray[np.float64] = each[labels]
    return weights
