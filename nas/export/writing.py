"""Write trained networks as one bundle, after proving that it computes what they compute."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from nas.budget import Budget
from nas.bundle import Bundle, BundleModel, Certificate, Level, SegmentFile, write_bundle
from nas.data import Data
from nas.errors import BundleError
from nas.export.measuring import (
    SECONDS_PER_EXIT,
    MeasuredExit,
    check_parity,
    dial_levels,
    measured_exits,
)
from nas.latency import DeclaredEnergy, Target
from nas.model import Model
from nas.onnx import onnx_model, shipped_segments, tensor_names
from nas.runtime import Runtime
from nas.space import Architecture

__all__ = ["export"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PACKAGES = ("nas-dial", "numpy", "onnx", "onnxruntime", "torch")


def export(
    models: Mapping[str, Model],
    folder: str | Path,
    *,
    data: Data,
    target: Target | None = None,
    budget: Budget | None = None,
    energy: DeclaredEnergy | None = None,
    architectures: Mapping[str, Architecture] | None = None,
    provenance: Mapping[str, Any] | None = None,
    torch_weights: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Write the models to `folder` as a bundle and return it.

    The files are run on validation images at every exit and must give the models' logits, else `BundleError`
    is raised and nothing is written. Each exit is timed on the target, and certified to keep the latencies
    of the budget or not to. The levels are the exits that none of the same model beats in time and
    validation accuracy; what was found for all of them, test accuracy included, is `provenance["exits"]`.
    `energy` is an estimate for a target that has no power meter, and told as one.
    `torch_weights` adds each model as safetensors, `progress` is told each step.
    """
    budget, conditions = budget or Budget(), _conditions()
    _check_models(models, data)
    tell = progress or _silent
    files: dict[str, bytes] = {}
    draft = _draft(models, data, files=files, architectures=architectures or {})
    draft = replace(draft, provenance=provenance or {})  # so that values that are no JSON are found at once
    exits: list[MeasuredExit] = []
    with tempfile.TemporaryDirectory() as scratch:
        runtime = Runtime(write_bundle(Path(scratch, "draft"), draft, files))
        for name, model in sorted(models.items()):
            tell(f"checking {name}")
            check_parity(runtime, name, model, data.x_val)
        for name, model in sorted(models.items()):
            tell(f"measuring {name}")
            exits += measured_exits(
                runtime, name, model, data=data, target=target, budget=budget, energy=energy
            )
            if torch_weights:
                file = Path(scratch, "model.safetensors")
                model.save(file)
                files[f"models/{name}/{file.name}"] = file.read_bytes()
    origin = {
        "data": {"name": data.name, "hash": data.hash},
        "versions": _versions(),
        "exits": [found.to_json() for found in exits],
        **draft.provenance,
    }
    certificate = _certificate(budget, conditions) if target else None
    bundle = replace(draft, levels=dial_levels(exits), certificate=certificate, provenance=origin)
    return write_bundle(folder, bundle, files)


def _draft(
    models: Mapping[str, Model],
    data: Data,
    *,
    files: dict[str, bytes],
    architectures: Mapping[str, Architecture],
) -> Bundle:
    """A bundle of which every exit is a level, of unknown worth; what it holds is put into `files`."""
    entries = [
        _entry(name, model, files=files, architecture=architectures.get(name))
        for name, model in sorted(models.items())
    ]
    channels, height, width = data.input_shape
    return Bundle(
        input_shape=(channels, height, width),
        classes=data.classes,
        models=tuple(entries),
        levels=tuple(
            Level(model=entry.name, exit=exit, accuracy=0, macs=0)
            for entry in entries
            for exit in range(entry.exits)
        ),
    )


def _entry(
    name: str, model: Model, *, files: dict[str, bytes], architecture: Architecture | None
) -> BundleModel:
    weights = model.weights()
    segments = []
    for segment in shipped_segments(model.graph):
        file, content = f"models/{name}/{segment.name}.onnx", onnx_model(model.graph, weights, segment)
        inputs, outputs = tensor_names(model.graph, segment)
        digest = hashlib.sha256(content).hexdigest()
        files[file] = content
        segments.append(
            SegmentFile(name=segment.name, file=file, sha256=digest, inputs=inputs, outputs=outputs)
        )
    return BundleModel(
        name=name,
        segments=tuple(segments),
        exits=len(model.graph.exits),
        architecture={} if architecture is None else architecture.to_json(),
        id=model.graph.id,
    )


def _check_models(models: Mapping[str, Model], data: Data) -> None:
    if not models:
        raise BundleError("a bundle must have a model, but got none; give at least one")
    folded = [name.casefold() for name in models]
    if twice := [name for name in models if folded.count(name.casefold()) > 1]:
        rule = "models' names must differ in more than case, for some devices' folders do not tell it"
        raise BundleError(f"{rule}, but got {twice}; rename one")
    expected = data.input_shape, data.num_classes
    for name, model in models.items():
        if not _NAME.fullmatch(name):
            raise BundleError(
                "a model's name must begin with a letter or digit and hold only letters, digits, "
                f"dots, dashes and underscores, but got {name!r}; rename it"
            )
        found = model.graph.input_shape, model.graph.num_classes
        if found != expected:
            raise BundleError(
                f"a model must fit the data's image shape and classes, {expected}, but {name!r} has {found}; "
                "export it with the data that it was trained on"
            )


def _versions() -> dict[str, str]:
    """Versions of the packages that made the bundle; one that is used from its source folder has none."""
    versions = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _conditions() -> dict[str, float | None]:
    """Under what conditions the bundle is measured; the host is this machine, not one that is a target."""
    return {
        "host_load": psutil.getloadavg()[0],  # programs that ran or waited to, mean of the last minute
        "host_cores": psutil.cpu_count(),
        "seconds_per_exit": SECONDS_PER_EXIT,
    }


def _certificate(budget: Budget, conditions: Mapping[str, float | None]) -> Certificate:
    return Certificate(
        budget=str(budget),
        measured=datetime.now(UTC).replace(microsecond=0),
        versions=_versions(),
        conditions=conditions,
    )


def _silent(step: str) -> None:
    pass
