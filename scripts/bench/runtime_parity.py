"""Whether segments, fused files and torch agree, and whether nothing runs behind the exit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import runtime_networks as networks
from record import Record, Row

from nas.bundle import Level, Readout
from nas.cascade import decide
from nas.model import Model
from nas.runtime import FusedModel, Runtime
from nas.train import predict

__all__ = ["FILE", "collect", "figures"]

FILE = "parity.csv"
TOLERANCE = 1e-4


def collect(record: Record, *, settings: int, mixed: int = networks.MIXED) -> None:
    """For each network so many random (image, greatest exit, thresholds)."""
    done = {row["network"] for row in record.rows(FILE)}
    graphs = {**networks.mixed_networks(mixed), "msdnet": networks.msdnet_graph()}
    for name, graph in graphs.items():
        if name not in done:
            with tempfile.TemporaryDirectory() as folder:
                record.add(FILE, _row(name, networks.trained_like(graph), settings, Path(folder)))


def figures(rows: list[Row]) -> dict[str, object]:
    return {
        "parity_mismatches": sum(int(row["mismatches"]) for row in rows),
        "parity_settings": sum(int(row["settings"]) for row in rows),
        "parity_apart": max(float(row["apart"]) for row in rows),
        "nodes_behind_exit": sum(int(row["behind"]) for row in rows),
    }


def _row(name: str, model: Model, settings: int, folder: Path) -> Mapping[str, object]:
    bundle = networks.bundle_of(folder / "bundle", {name: model})
    runtime, fused = Runtime.load(folder / "bundle"), FusedModel.load(bundle, name)
    images = np.random.default_rng(1).integers(0, 256, (settings, *networks.SHAPE), np.uint8)
    heads = predict(model, images, 100)
    exits, mismatches, apart, left = len(model.graph.exits), 0, 0.0, [0] * len(model.graph.exits)
    for number, level in enumerate(_settings(name, exits, heads, settings)):
        alone = [head[number : number + 1] for head in heads]
        expected = decide(alone, Readout(), exit=level.exit, thresholds=level.thresholds)
        staged = runtime.run(images[number], level)
        logits, exit = fused.run(images[number], level.exit, level.thresholds)
        answers = {int(staged.exits[0]), exit, int(expected.exits[0])}
        worst = max(float(np.abs(found - expected.logits).max()) for found in (staged.logits, logits))
        mismatches += len(answers) > 1 or not worst <= TOLERANCE
        apart, left[exit] = max(apart, worst), left[exit] + 1
    behind = _behind(bundle.read(bundle.model(name).fused), exits, folder)
    return {
        "network": name,
        "exits": exits,
        "settings": settings,
        "mismatches": mismatches,
        "apart": apart,
        "largest_logit": float(max(np.abs(head).max() for head in heads)),
        "left": " ".join(map(str, left)),
        "behind": behind,
    }


def _settings(name: str, exits: int, heads: list[np.ndarray], count: int) -> Iterator[Level]:
    """Thresholds are confidences that this network has, so that images leave everywhere, and some above 1."""
    rng = np.random.default_rng(2)
    sure = [decide(heads, Readout(), exit=exit).confidence for exit in range(exits)]
    level = Level(model=name, exit=0, accuracy=0, macs=0)
    for _ in range(count):
        # Between two confidences that images have, for rounding may decide on either side of one.
        thresholds = [float(np.quantile(each, rng.uniform(0.3, 1))) + 1e-5 for each in sure[:-1]]
        asked = rng.uniform(size=exits - 1) < 0.8
        thresholds = [value if ask else 1.5 for value, ask in zip(thresholds, asked, strict=True)]
        yield replace(level, exit=int(rng.integers(exits)), thresholds=tuple(thresholds))


def _behind(file: bytes, exits: int, folder: Path) -> int:
    """How many nodes of later trunks and heads ONNX Runtime's profiler saw, over all exits."""
    image = np.zeros((1, *networks.SHAPE), np.uint8)
    found = 0
    for exit in range(exits):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        unasked = np.full(exits - 1, 2, np.float32)
        session.run(None, {"x": image, "max_exit": np.array(exit), "thresholds": unasked})
        events = json.loads(Path(session.end_profiling()).read_text())
        nodes = [event["name"] for event in events if event.get("cat") == "Node"]
        segments = [
            name.split("/")[0].rpartition("_") for name in nodes if name.startswith(("trunk_", "head_"))
        ]
        assert any(int(number) == exit for _, _, number in segments), "nodes must keep the names of segments"
        found += sum(int(number) > exit for _, _, number in segments)
    return found
