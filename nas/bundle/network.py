"""A network of a bundle: the files that it is cut into at its exits, and what can be said of it.

Exit k runs trunks 0..k and head k, and nothing else. Tensors keep their names from file to file.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, final

from nas.bundle import archive, fields
from nas.bundle.fields import broken
from nas.bundle.names import (
    CONFIDENCE,
    EXIT,
    FUSED,
    IMAGE,
    LOGITS,
    MAX_EXIT,
    NEXT_STATE,
    STATE,
    THRESHOLDS,
    exit_segments,
)
from nas.bundle.readout import Readout

__all__ = ["PRECISIONS", "BundleModel", "SegmentFile"]

PRECISIONS = ("fp32", "int8")


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
    readout: Readout = field(default_factory=Readout)
    precision: str = "fp32"
    """Of weights and features, one of `PRECISIONS`."""
    fused: SegmentFile | None = None
    """All exits in one file that stops by itself."""
    normalization: Mapping[str, Sequence[float]] = field(default_factory=dict, hash=False)
    """`mean` and `std` per channel of the raw image; the first trunk applies them, a host gives raw bytes."""

    @property
    def files(self) -> tuple[SegmentFile, ...]:
        """All files of the network."""
        return (*self.segments, *([self.fused] if self.fused else []))

    def segments_at(self, exit: int, asked: Iterable[int] = ()) -> tuple[SegmentFile, ...]:
        """What one exit runs, in order: the trunks up to it, its own head, and those `asked` on the way.

        Where the read-out combines heads, all of them are.
        """
        wanted = exit_segments(exit, range(exit) if self.readout.needs_all_heads else asked)
        return tuple(segment for segment in self.segments if segment.name in wanted)

    def to_json(self) -> dict[str, Any]:
        """The model as an entry of bundle.json, where it stands under its name."""
        return {
            "segments": [segment.to_json() for segment in self.segments],
            "exits": self.exits,
            "architecture": dict(self.architecture),
            "id": self.id,
            "readout": self.readout.to_json(),
            "precision": self.precision,
            "fused": None if self.fused is None else self.fused.to_json(),
            "normalization": {name: list(values) for name, values in self.normalization.items()},
        }

    @classmethod
    def from_json(cls, name: str, record: object) -> Self:
        """Read what `to_json` wrote; segments stand in running order and read only what is made before."""
        where = f"models.{name}"
        entries = enumerate(fields.field(record, "segments", list, where))
        fused = fields.value(record, "fused", where)
        means, within = fields.field(record, "normalization", dict, where), f"{where}.normalization"
        model = cls(
            name=name,
            segments=tuple(SegmentFile.from_json(entry, f"{where}.segments[{i}]") for i, entry in entries),
            exits=fields.field(record, "exits", int, where),
            architecture=fields.field(record, "architecture", dict, where),
            id=fields.field(record, "id", str, where),
            readout=Readout.from_json(fields.value(record, "readout", where), f"{where}.readout"),
            precision=fields.field(record, "precision", str, where),
            fused=None if fused is None else SegmentFile.from_json(fused, f"{where}.fused"),
            normalization={name: fields.numbers(means, name, within, -math.inf) for name in means},
        )
        _check_order(model, where)
        _check_features(model, where)
        _check_kind(model, where)
        return model


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
    memory = {STATE} if model.readout.remembers else set()
    answer = {LOGITS, CONFIDENCE} | ({NEXT_STATE} if memory else set())
    for segment in model.segments:
        head = segment.name.startswith("head")
        known = made | memory if head else made
        if missing := set(segment.inputs) - known:
            rule = f"read what earlier trunks make, but reads {sorted(missing)}"
            raise broken(f"{where} {segment.name}", rule)
        if head:
            if set(segment.outputs) != answer:
                rule = f"make {', '.join(sorted(answer))}, but makes {list(segment.outputs)}"
                raise broken(f"{where} {segment.name}", rule)
        elif taken := (made | answer | memory) & set(segment.outputs):
            raise broken(f"{where} {segment.name}", f"make features of new names, but makes {sorted(taken)}")
        else:
            made |= set(segment.outputs)


def _check_kind(model: BundleModel, where: str) -> None:
    """Read-out, precision and fused file fit the exits."""
    if model.precision not in PRECISIONS:
        raise broken(f"{where}.precision", f"be one of {list(PRECISIONS)}, but got {model.precision!r}")
    if len(model.readout.temperatures) not in (0, model.exits):
        rule = f"have a temperature for each of {model.exits} exits or none"
        raise broken(f"{where}.readout", f"{rule}, but has {len(model.readout.temperatures)}")
    fused = model.fused
    if fused and (set(fused.inputs), set(fused.outputs), fused.name) != (
        {IMAGE, MAX_EXIT, THRESHOLDS},
        {LOGITS, EXIT},
        FUSED,
    ):
        rule = f"be named {FUSED}, read {IMAGE}, {MAX_EXIT}, {THRESHOLDS} and make {LOGITS}, {EXIT}"
        raise broken(f"{where}.fused", f"{rule}, but got {fused.name}, {fused.inputs} and {fused.outputs}")
