"""Read a bundle with all its checks."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, final

from nas.bundle import archive, fields
from nas.bundle.certificate import Certificate
from nas.bundle.fields import broken
from nas.bundle.level import Level, check_dial, check_level
from nas.bundle.network import BundleModel, SegmentFile
from nas.errors import BundleError

__all__ = ["INDEX", "Bundle"]

INDEX = "bundle.json"
_FORMAT = "nas-dial-bundle"
_VERSION = 1


@final
@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The networks, the levels made of them (level 0 takes the fewest ms) and where they come from.

    `files` are the names and hashes of further files; no other file may lie in a bundle.
    """

    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    models: tuple[BundleModel, ...]
    levels: tuple[Level, ...]
    certificate: Certificate | None = None
    governor: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """How a device is to choose among the levels, as `nas.runtime.Governor` writes it; empty if not said."""
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a bundle from a folder or a zip and check all of it, the hash of every file included."""
        path = Path(path)
        try:
            with archive.open_files(path) as files:
                index = archive.read_file(files, INDEX, archive.MAX_INDEX_BYTES)
                bundle = replace(cls.from_json(fields.parse(index, INDEX)), path=path)
                _check_files(bundle, files)
        except BundleError as error:
            raise BundleError(f"bundle {path}: {error}") from error.__cause__
        return bundle

    def read(self, segment: SegmentFile) -> bytes:
        """The ONNX bytes of one segment, checked against its hash."""
        if self.path is None:
            raise BundleError("a bundle must be on disk to be read, but this one is not; write it first")
        with archive.open_files(self.path) as files:
            data = archive.read_file(files, segment.file)
        _check_hash(segment.file, hashlib.sha256(data).hexdigest(), segment.sha256)
        return data

    def model(self, name: str) -> BundleModel:
        """The network of that name."""
        for model in self.models:
            if model.name == name:
                return model
        names = fields.short([model.name for model in self.models])
        raise BundleError(f"a model must be one of {names}, but got {fields.short(name)}; name one of them")

    def to_json(self) -> dict[str, Any]:
        """The contents of bundle.json."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "input": {"shape": list(self.input_shape), "dtype": "uint8"},
            "classes": list(self.classes),
            "models": {model.name: model.to_json() for model in self.models},
            "levels": [level.to_json() for level in self.levels],
            "certificate": None if self.certificate is None else self.certificate.to_json(),
            "governor": dict(self.governor),
            "provenance": dict(self.provenance),
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, record: object) -> Self:
        """Read what `to_json` wrote, or say in one sentence what is wrong with it."""
        for key, expected in (("format", _FORMAT), ("version", _VERSION)):
            found = fields.value(record, key, INDEX)
            if type(found) is not type(expected) or found != expected:
                rule = f"have the {key} {expected!r}, the only one read here, but got {fields.short(found)}"
                raise broken(INDEX, rule, "update nas-dial or export the bundle again")
        models = fields.field(record, "models", dict, INDEX)
        levels = fields.field(record, "levels", list, INDEX)
        certificate = fields.value(record, "certificate", INDEX)
        bundle = cls(
            input_shape=_input_shape(fields.field(record, "input", dict, INDEX)),
            classes=fields.texts(record, "classes", INDEX),
            models=tuple(BundleModel.from_json(name, model) for name, model in models.items()),
            levels=tuple(Level.from_json(level, f"levels[{i}]") for i, level in enumerate(levels)),
            certificate=None if certificate is None else Certificate.from_json(certificate),
            governor=fields.field(record, "governor", dict, INDEX),
            provenance=fields.field(record, "provenance", dict, INDEX),
            files=_further_files(fields.field(record, "files", dict, INDEX)),
        )
        _check_levels(bundle)
        return bundle


def _check_hash(name: str, found: str, listed: str) -> None:
    if found != listed:
        expected = f"have the sha256 that {INDEX} gives, {listed[:12]}…"
        raise broken(name, f"{expected}, but has {found[:12]}…")


def _further_files(record: dict[str, Any]) -> dict[str, str]:
    where = f"{INDEX}.files"
    if bad := [name for name in record if not archive.stays_inside(name)]:
        raise broken(where, f"stay inside the bundle, but got {bad[0]!r}")
    return {name: fields.field(record, name, str, where) for name in record}


def _check_files(bundle: Bundle, files: archive.Files) -> None:
    """Every file that is listed has its hash, and no other file is there."""
    of_models = ((file.file, file.sha256) for model in bundle.models for file in model.files)
    listed = [*of_models, *bundle.files.items()]
    for name, sha256 in listed:
        _check_hash(name, archive.hash_file(files, name), sha256)
    if extra := files.names() - {INDEX, *dict(listed)}:
        rule = f"hold only files that {INDEX} lists, but has {min(extra)!r}"
        raise broken("a bundle", rule, "remove it or export the bundle again")


def _input_shape(record: dict[str, Any]) -> tuple[int, int, int]:
    where = f"{INDEX}.input"
    dtype, shape = fields.field(record, "dtype", str, where), fields.field(record, "shape", list, where)
    if dtype != "uint8" or len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise broken(where, f"be uint8 and three sizes [C, H, W], but got {dtype} and {fields.short(shape)}")
    return shape[0], shape[1], shape[2]


def _check_levels(bundle: Bundle) -> None:
    if not bundle.levels:
        raise broken(INDEX, "have at least one level, but has none")
    exits = {model.name: model.exits for model in bundle.models}
    for i, level in enumerate(bundle.levels):
        if level.model not in exits:
            rule = f"name one of the models {sorted(exits)}"
            raise broken(f"levels[{i}]", f"{rule}, but got {level.model!r}")
        check_level(level, exits[level.model], f"levels[{i}]")
    check_dial(bundle.levels)
