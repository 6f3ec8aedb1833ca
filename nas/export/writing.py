"""Write trained networks as one bundle, after proving that it computes what they compute."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from nas.budget import Budget
from nas.bundle import Bundle, Certificate, write_bundle
from nas.bundle.fields import dumped
from nas.cascade import image_weights
from nas.data import Data
from nas.errors import BundleError
from nas.export.cascades import check_budgets
from nas.export.config import ExportConfig
from nas.export.draft import Draft
from nas.export.entries import INT8
from nas.export.measuring import SECONDS_PER_EXIT, MeasuredLevel, dial_levels, kept_precisions
from nas.latency import DeclaredEnergy, Target
from nas.model import Model
from nas.runtime import Governor, Runtime
from nas.space import Architecture

__all__ = ["export"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
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
    config: ExportConfig | None = None,
    progress: Callable[[str], None] | None = None,
) -> Bundle:
    """Write the models to `folder` as a bundle and return it.

    The files are run on validation images and must answer as the models do, at every exit and at random
    thresholds, else `BundleError` is raised and nothing is written. Each exit is timed on the target, and
    certified to keep the latencies of the budget or not to. The levels are the exits, and where the config
    wants them cascades, that none of the same model beats in time and validation accuracy; what was found
    for all of them, test accuracy included, is `provenance["exits"]` and `provenance["cascades"]`. `energy`
    is an estimate for a target that has no power meter, and told as one. `progress` is told each step.
    """
    budget, conditions, config = budget or Budget(), _conditions(), config or ExportConfig()
    _check_models(models, data)
    _check_int8(models, config, target)
    _check_cascades(models, data, config, target=target, energy=energy)
    dumped(provenance or {})  # so that what is no JSON is found at once
    draft = Draft(models, data, config=config, architectures=architectures or {}, tell=progress or _silent)
    bundle = replace(draft.bundle(), governor=config.governor)
    Governor.of(bundle)  # so that what is no governor is found before anything is measured
    with tempfile.TemporaryDirectory() as scratch:
        runtime = Runtime(write_bundle(Path(scratch, "draft"), bundle, draft.files))
        draft.check(runtime)
        measured = draft.measured(runtime, target=target, budget=budget, energy=energy)
    found, comparison = kept_precisions(measured, draft.sources)
    kept = {each.level.model for each in found}
    bundle = replace(
        bundle,
        models=tuple(model for model in bundle.models if model.name in kept),
        levels=dial_levels(found),
        certificate=_certificate(budget, conditions) if target else None,
        provenance=_origin(data, found, comparison, config=config) | dict(provenance or {}),
    )
    Governor.of(bundle)  # of which the dial must fit the levels that are left
    weights = _torch_files(models) if config.torch_weights else {}
    return write_bundle(folder, bundle, draft.files_of(kept) | weights)


def _origin(
    data: Data,
    found: Sequence[MeasuredLevel],
    comparison: Sequence[Mapping[str, Any]],
    *,
    config: ExportConfig,
) -> dict[str, Any]:
    """Where a bundle comes from, and what was found on the way."""
    plain, cascades = (
        [each.to_json() for each in found if (each.level.thresholds is None) is alone]
        for alone in (True, False)
    )
    return {
        "data": {"name": data.name, "hash": data.hash},
        "versions": _versions(),
        "exits": plain,
        "cascades": cascades,
        **({"int8": comparison} if config.int8 else {}),
        **({"class_shares": list(config.class_shares)} if config.class_shares else {}),
    }


def _torch_files(models: Mapping[str, Model]) -> dict[str, bytes]:
    """Weights of each network as safetensors, by their place in the bundle."""
    files = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "model.safetensors")
        for name, model in models.items():
            model.save(file)
            files[f"models/{name}/{file.name}"] = file.read_bytes()
    return files


def _check_cascades(
    models: Mapping[str, Model],
    data: Data,
    config: ExportConfig,
    *,
    target: Target | None,
    energy: DeclaredEnergy | None,
) -> None:
    check_budgets(config.cascade_budgets, target=target, energy=energy)
    if config.cascades < 0:
        raise BundleError(f"cascades must be at least 0, but got {config.cascades}; give how many levels")
    if config.has_cascades and all(len(model.graph.exits) == 1 for model in models.values()):
        rule = "a network must have at least 2 exits to have thresholds"
        raise BundleError(f"{rule}, but those of {sorted(models)} have 1; leave cascades out")
    for part, labels in (("validation", data.y_val), ("test", data.y_test)):
        image_weights(labels, data.num_classes, config.class_shares, name=part)  # an error, if it is one


def _check_int8(models: Mapping[str, Model], config: ExportConfig, target: Target | None) -> None:
    if not config.int8:
        return
    if target is None:
        raise BundleError("int8 is kept where it is faster, but no target was given; give one to time on")
    folded = [name.casefold() for name in models]
    if taken := [name for name in models if f"{name}{INT8}".casefold() in folded]:
        rule = f"with int8 no model may have the name of another followed by {INT8}"
        raise BundleError(f"{rule}, but {taken[0]!r} has such a one; rename it")


def _check_models(models: Mapping[str, Model], data: Data) -> None:
    if not models:
        raise BundleError("a bundle must have a model, but got none; give at least one")
    folded = [name.casefold() for name in models]
    if twice := [name for name in models if folded.count(name.casefold()) > 1]:
        rule = "models' names must differ in more than case, for some devices' folders do not tell it"
        raise BundleError(f"{rule}, but got {twice}; rename one")
    expected = data.input_shape, data.num_classes
    for name, model in models.items():
        if not _NAME.fullmatch(name) or name.partition(".")[0].casefold() in _DEVICES:
            raise BundleError(
                "a model's name must begin with a letter or digit and hold only letters, digits, "
                f"dots, dashes and underscores, and be no device of Windows, but got {name!r}; rename it"
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
