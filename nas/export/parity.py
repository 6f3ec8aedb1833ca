"""Prove that the files of a bundle compute what the trained network computes, and stop where they should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nas.bundle import BundleModel, Level
from nas.cascade import decide
from nas.errors import BundleError
from nas.runtime import FusedModel, Runtime

__all__ = ["check_fused", "check_parity"]

_TOLERANCE = 1e-3  # of the largest logit; single precision differs by about 1e-6, a wrong rule by about 1
_CLOSE = 1e-3  # a confidence nearer to a threshold may fall on either side of it
_SETTINGS = 8
_FUSED_IMAGES = 32


def check_parity(
    runtime: Runtime, model: BundleModel, heads: Sequence[NDArray[np.float32]], images: NDArray[np.uint8]
) -> None:
    """`BundleError` unless files and network agree at every exit, and at random thresholds.

    `heads` are the logits (N, K) of each head of the network by itself on these images.
    """
    for exit in range(model.exits):
        expected = decide(heads, model.readout, exit=exit).logits
        got = runtime.run(images, Level(model=model.name, exit=exit, accuracy=0, macs=0)).logits
        apart, allowed = np.abs(got - expected).max(), _TOLERANCE * np.abs(expected).max()
        if not apart <= allowed:  # which NaN is not either
            raise BundleError(
                f"exported logits must equal the model's within {allowed:.2g}, but those of {model.name!r} "
                f"at exit {exit} differ by {apart:.2g}; check the ONNX rules of its ops and that its "
                "weights are finite"
            )
    for level in _settings(model):
        sure = decide(heads, model.readout, exit=level.exit, thresholds=level.thresholds)
        exits = runtime.run(images, level).exits
        if wrong := np.flatnonzero((exits != sure.exits) & ~_on_the_edge(heads, model, level)).tolist():
            raise BundleError(
                f"exported exits must answer as the model's, but {model.name!r} leaves at exit "
                f"{exits[wrong[0]]} where the model leaves at {sure.exits[wrong[0]]}; check its read-out"
            )


def check_fused(runtime: Runtime, model: BundleModel, images: NDArray[np.uint8]) -> None:
    """`BundleError` unless the fused file answers as the segments do, image by image."""
    fused = FusedModel.load(runtime.bundle, model.name)
    levels = _settings(model)
    for number, image in enumerate(images[:_FUSED_IMAGES]):
        level = levels[number % len(levels)]
        # Rounding may decide where a confidence is as good as a threshold; then it does at no other one.
        if not any(_agree(runtime, fused, image, _shifted(level, by)) for by in (0, -_CLOSE, _CLOSE)):
            raise BundleError(
                f"the fused file must answer as the segments do, but that of {model.name!r} does not at exit "
                f"{level.exit} with thresholds {level.thresholds}; export without fused files, and report it"
            )


def _agree(runtime: Runtime, fused: FusedModel, image: NDArray[np.uint8], level: Level) -> bool:
    staged = runtime.run(image, level)
    logits, exit = fused.run(image, level.exit, level.thresholds)
    apart = np.abs(logits - staged.logits).max()
    return bool(exit == staged.exits[0] and apart <= _TOLERANCE * np.abs(staged.logits).max())


def _shifted(level: Level, by: float) -> Level:
    """The same with thresholds that are asked a little higher or lower."""
    limits = (limit if limit > 1 else limit + by for limit in level.thresholds or ())
    return replace(level, thresholds=tuple(limits))


def _settings(model: BundleModel) -> list[Level]:
    """Random exits and thresholds, some above 1."""
    rng = np.random.default_rng(0)
    return [
        Level(
            model=model.name,
            exit=int(rng.integers(model.exits)),
            accuracy=0,
            macs=0,
            thresholds=tuple(rng.uniform(0, 1.2, model.exits - 1).tolist()),
        )
        for _ in range(_SETTINGS)
    ]


def _on_the_edge(heads: Sequence[NDArray[np.float32]], model: BundleModel, level: Level) -> NDArray[np.bool_]:
    """Images of which rounding may decide where they leave, (N,)."""
    low, high = (
        decide(
            heads,
            model.readout,
            exit=level.exit,
            thresholds=_shifted(level, shift).thresholds,
        ).exits
        for shift in (-_CLOSE, _CLOSE)
    )
    edge: NDArray[np.bool_] = low != high
    return edge
