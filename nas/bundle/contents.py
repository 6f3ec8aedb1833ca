"""Read a bundle with all its checks, and write it whole or not at all.

A model is cut at its exits into `trunk_0, head_0, trunk_1, head_1, …`: exit k runs trunks 0..k and head k,
and nothing else. Tensors keep their names from segment to segment, beginning with `image`; every head gives
`logits`.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, final

from nas.bundle import archive, fields
from nas.bundle.certificate import Certificate
from nas.bundle.fields import broken
from nas.bundle.level import Level, check_dial
from nas.errors import BundleError

__all__ = ["IMAGE", "LOGITS", "Bundle", "BundleModel", "SegmentFile", "exit_segments", "write_bundle"]

IMAGE = "image"
LOGITS = "logits"

_INDEX = "bundle.json"
_FORMAT = "nas-dial-bundle"
_VERSION = 1


@final
@dataclass(frozen=True, kw_only=True)
class SegmentFile:
    """One ONNX file of a bundle: `trunk_k` makes features, `head_k` turns features into logits."""

    name: str
    file: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The segment as an entry of bundle.json."""
        return asdict(self) | {"inputs": list(self.inputs), "outputs": list(self.outputs)}

    @classmethod
    def from_json(cls, record: object, where: str = "segment") -> Self:
        """Read what `to_json` wrote; `where` begins the sentence of an error."""
        file = fields.field(record, "file", str, where)
        if not archive.stays_inside(file):
            raise broken(f"{where}.file", f"stay inside the bundle, but got {file!r}")
        return cls(
            name=fields.field(record, "name", str, where),
            file=file,
            sha256=fields.field(record, "sha256", str, where),
            inputs=fields.texts(record, "inputs", where),
            outputs=fields.texts(record, "outputs", where),
        )


@final
@dataclass(frozen=True, kw_only=True)
class BundleModel:
    """One network of a bundle, cut at its exits; `id` names its graph."""

    name: str
    segments: tuple[SegmentFile, ...]
    exits: int
    architecture: Mapping[str, Any] = field(hash=False)
    id: str

    def segments_at(self, exit: int) -> tuple[SegmentFile, ...]:
        """What one exit runs, in order: the trunks up to it and its own head."""
        wanted = exit_segments(exit)
        return tuple(segment for segment in self.segments if segment.name in wanted)

    def to_json(self) -> dict[str, Any]:
        """The model as an entry of bundle.json, where it stands under its name."""
        return {
            "segments": [segment.to_json() for segment in self.segments],
            "exits": self.exits,
            "architecture": dict(self.architecture),
            "id": self.id,
        }

    @classmethod
    def from_json(cls, name: str, record: object) -> Self:
        """Read what `to_json` wrote; segments stand in running order and read only what is made before."""
        where = f"models.{name}"
        entries = enumerate(fields.field(record, "segments", list, where))
        model = cls(
            name=name,
            segments=tuple(SegmentFile.from_json(entry, f"{where}.segments[{i}]") for i, entry in entries),
            exits=fields.field(record, "exits", int, where),
            architecture=fields.field(record, "architecture", dict, where),
            id=fields.field(record, "id", str, where),
        )
        _check_order(model, where)
        _check_features(model, where)
        return model


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
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    files: Mapping[str, str] = field(default_factory=dict, hash=False)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a bundle from a folder or a zip and check all of it, the hash of every file included."""
        path = Path(path)
        try:
            bundle = replace(cls.from_json(fields.parse(archive.read_file(path, _INDEX), _INDEX)), path=path)
            _check_files(bundle, path)
        except BundleError as error:
            raise BundleError(f"bundle {path}: {error}") from error.__cause__
        return bundle

    def read(self, segment: SegmentFile) -> bytes:
        """The ONNX bytes of one segment, checked against its hash."""
        if self.path is None:
            raise BundleError("a bundle must be on disk to be read, but this one is not; write it first")
        return _read(self.path, segment.file, segment.sha256)

    def model(self, name: str) -> BundleModel:
        """The network of that name."""
        for model in self.models:
            if model.name == name:
                return model
        names = [model.name for model in self.models]
        raise BundleError(f"a model must be one of {names}, but got {name!r}; name one of them")

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
            "provenance": dict(self.provenance),
            "files": dict(self.files),
        }

    @classmethod
    def from_json(cls, record: object) -> Self:
        """Read what `to_json` wrote, or say in one sentence what is wrong with it."""
        for key, expected in (("format", _FORMAT), ("version", _VERSION)):
            if (found := fields.value(record, key, _INDEX)) != expected:
                rule = f"{_INDEX} must have the {key} {expected!r}, the only one read here, but got {found!r}"
                raise BundleError(f"{rule}; update nas-dial or export the bundle again")
        models = fields.field(record, "models", dict, _INDEX)
        levels = fields.field(record, "levels", list, _INDEX)
        certificate = fields.value(record, "certificate", _INDEX)
        bundle = cls(
            input_shape=_input_shape(fields.field(record, "input", dict, _INDEX)),
            classes=fields.texts(record, "classes", _INDEX),
            models=tuple(BundleModel.from_json(name, model) for name, model in models.items()),
            levels=tuple(Level.from_json(level, f"levels[{i}]") for i, level in enumerate(levels)),
            certificate=None if certificate is None else Certificate.from_json(certificate),
            provenance=fields.field(record, "provenance", dict, _INDEX),
            files=_further_files(fields.field(record, "files", dict, _INDEX)),
        )
        _check_levels(bundle)
        return bundle


def exit_segments(exit: int) -> frozenset[str]:
    """Names of the segments that one exit runs, as far as a model has them."""
    return frozenset({f"trunk_{k}" for k in range(exit + 1)} | {f"head_{exit}"})


def write_bundle(folder: str | Path, bundle: Bundle, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle whole or not at all, and return it at its place.

    `files` maps names inside the bundle to their bytes; those that are no segments become `Bundle.files`. An
    older bundle at `folder` is replaced; anything else there is an error.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder / _INDEX).is_file():
        raise BundleError(f"{folder} must be free or hold a bundle, but holds other things; choose another")
    if bad := [name for name in files if not archive.stays_inside(name)]:
        raise BundleError(f"a file must stay inside the bundle, but got {bad[0]!r}; name it models/NAME/FILE")
    segments = {segment.file for model in bundle.models for segment in model.segments}
    further = {name: _sha256(data) for name, data in files.items() if name not in segments}
    bundle = replace(bundle, files=further)
    index = _index(bundle)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        fresh = Path(scratch, "new")
        for name, data in {**files, _INDEX: index}.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        Bundle.load(fresh)
        if folder.exists():
            folder.rename(Path(scratch, "old"))
        fresh.rename(folder)
    return replace(bundle, path=folder)


def _index(bundle: Bundle) -> bytes:
    try:
        return json.dumps(bundle.to_json(), indent=2, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        rule = "provenance and all else that a bundle says must be plain JSON values"
        raise BundleError(
            f"{rule}, but got: {error}; convert what is not, such as numpy's numbers"
        ) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, name: str, sha256: str) -> bytes:
    data = archive.read_file(path, name)
    if (got := _sha256(data)) != sha256:
        expected = f"have the sha256 that {_INDEX} gives, {sha256[:12]}…"
        raise broken(name, f"{expected}, but has {got[:12]}…")
    return data


def _further_files(record: dict[str, Any]) -> dict[str, str]:
    where = f"{_INDEX}.files"
    if bad := [name for name in record if not archive.stays_inside(name)]:
        raise broken(where, f"stay inside the bundle, but got {bad[0]!r}")
    return {name: fields.field(record, name, str, where) for name in record}


def _check_files(bundle: Bundle, path: Path) -> None:
    """Every file that is listed has its hash, and no other file is there."""
    segments = (segment for model in bundle.models for segment in model.segments)
    listed = [*((segment.file, segment.sha256) for segment in segments), *bundle.files.items()]
    for name, sha256 in listed:
        _read(path, name, sha256)
    if extra := archive.list_files(path) - {_INDEX, *dict(listed)}:
        rule = f"a bundle must hold only files that {_INDEX} lists, but has {min(extra)!r}"
        raise BundleError(f"{rule}; remove it or export the bundle again")


def _input_shape(record: dict[str, Any]) -> tuple[int, int, int]:
    where = f"{_INDEX}.input"
    dtype, shape = fields.field(record, "dtype", str, where), fields.field(record, "shape", list, where)
    if dtype != "uint8" or len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape):
        raise broken(where, f"be uint8 and three sizes [C, H, W], but got {dtype} and {shape}")
    return shape[0], shape[1], shape[2]


def _check_order(model: BundleModel, where: str) -> None:
    """A trunk that has nothing to add may be left out; a head may not."""
    names = [segment.name for segment in model.segments]
    pairs = ((f"trunk_{k}", f"head_{k}") for k in range(min(model.exits, len(names))))
    expected = [name for pair in pairs for name in pair if name in names or name.startswith("head")]
    if names != expected or not 1 <= model.exits <= len(names):
        rule = "have at least one exit and the segments trunk_0, head_0, trunk_1, … up to the last"
        raise broken(where, f"{rule}, but got exits {model.exits} and {names}")


def _check_features(model: BundleModel, where: str) -> None:
    made = {IMAGE}
    for segment in model.segments:
        if missing := set(segment.inputs) - made:
            rule = f"read what earlier trunks make, but reads {sorted(missing)}"
            raise broken(f"{where} {segment.name}", rule)
        if segment.name.startswith("head"):
            if segment.outputs != (LOGITS,):
                raise broken(f"{where} {segment.name}", f"make {LOGITS}, but makes {list(segment.outputs)}")
        elif taken := (made | {LOGITS}) & set(segment.outputs):
            raise broken(f"{where} {segment.name}", f"make features of new names, but makes {sorted(taken)}")
        else:
            made |= set(segment.outputs)


def _check_levels(bundle: Bundle) -> None:
    if not bundle.levels:
        raise broken(_INDEX, "have at least one level, but has none")
    exits = {model.name: model.exits for model in bundle.models}
    for i, level in enumerate(bundle.levels):
        if not 0 <= level.exit < exits.get(level.model, 0):
            rule = f"name a model and one of its exits, counted from 0, of {exits}"
            raise broken(f"levels[{i}]", f"{rule}, but got {level.model!r} and {level.exit}")
    check_dial(bundle.levels)
