"""A bundle of two small networks with three exits each, and the same networks uncut as the reference."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nas.bundle import Bundle, BundleModel, Latency, Level, SegmentFile, write_bundle

SHAPE = (3, 9, 8)
CLASSES = ("ant", "bee", "cat", "dog")


@dataclass(frozen=True)
class Piece:
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    weights: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Exported:
    folder: Path
    uncut: dict[tuple[str, int], bytes]  # (model, exit) -> the whole network up to that exit as one ONNX file


def _trunk(k: int, width: int, rng: np.random.Generator) -> Piece:
    """Trunk 0 normalizes the image; the later ones read the feature before, trunk 2 also that of trunk 0."""
    source, channels = ("x", 3) if k == 0 else (f"feature_{k - 1}", width)
    weights = {f"w{k}": rng.normal(size=(width, channels, 3, 3)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", [f"x{k}", f"w{k}"], [f"c{k}"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", [f"c{k}"], [f"feature_{k}" if k < 2 else "r2"]),
    ]
    if k == 0:
        weights["mean"] = np.full((1, 3, 1, 1), 127.5, np.float32)
        cast = helper.make_node("Cast", [source], ["pixels"], to=TensorProto.FLOAT)
        nodes = [cast, helper.make_node("Div", ["pixels", "mean"], ["x0"]), *nodes]
    else:
        nodes = [helper.make_node("Identity", [source], [f"x{k}"]), *nodes]
    if k == 2:
        nodes.append(helper.make_node("Add", ["r2", "feature_0"], ["feature_2"]))
    inputs = (source, "feature_0") if k == 2 else (source,)
    return Piece(f"trunk_{k}", inputs, (f"feature_{k}",), tuple(nodes), weights)


def _head(k: int, width: int, rng: np.random.Generator) -> Piece:
    weights = {f"v{k}": rng.normal(size=(width, len(CLASSES))).astype(np.float32)}
    nodes = (
        helper.make_node("GlobalAveragePool", [f"feature_{k}"], [f"p{k}"]),
        helper.make_node("Flatten", [f"p{k}"], [f"f{k}"]),
        helper.make_node("MatMul", [f"f{k}", f"v{k}"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [f"s{k}"], axis=1),
        helper.make_node("ReduceMax", [f"s{k}"], ["confidence"], axes=[1], keepdims=0),
    )
    return Piece(f"head_{k}", (f"feature_{k}",), ("logits", "confidence"), nodes, weights)


def _onnx(pieces: list[Piece], inputs: tuple[str, ...], outputs: tuple[str, ...], width: int) -> bytes:
    def info(name: str) -> onnx.ValueInfoProto:
        if name == "x":
            return helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", *SHAPE])
        shapes = {"logits": ["N", len(CLASSES)], "confidence": ["N"]}
        return helper.make_tensor_value_info(
            name, TensorProto.FLOAT, shapes.get(name, ["N", width, *SHAPE[1:]])
        )

    graph = helper.make_graph(
        [node for piece in pieces for node in piece.nodes],
        "network",
        [info(name) for name in inputs],
        [info(name) for name in outputs],
        [numpy_helper.from_array(w, name) for piece in pieces for name, w in piece.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    files, uncut, models = {}, {}, []
    for seed, (name, width) in enumerate({"small": 4, "large": 8}.items()):
        rng = np.random.default_rng(seed)
        pieces = [make(k, width, rng) for k in range(3) for make in (_trunk, _head)]
        segments = []
        for piece in pieces:
            file = f"models/{name}/{piece.name}.onnx"
            files[file] = _onnx([piece], piece.inputs, piece.outputs, width)
            digest = hashlib.sha256(files[file]).hexdigest()
            segments.append(
                SegmentFile(
                    name=piece.name, file=file, sha256=digest, inputs=piece.inputs, outputs=piece.outputs
                )
            )
        models.append(BundleModel(name=name, segments=tuple(segments), exits=3, architecture={}, id=name))
        for k in range(3):
            run = [*pieces[0 : 2 * k : 2], *pieces[2 * k : 2 * k + 2]]
            uncut[name, k] = _onnx(run, ("x",), ("logits", "confidence"), width)
    bundle = Bundle(input_shape=SHAPE, classes=CLASSES, models=tuple(models), levels=_levels())
    write_bundle(folder, bundle, files)
    return Exported(folder, uncut)


def _levels() -> tuple[Level, ...]:
    order = [("small", 0), ("small", 1), ("large", 0), ("small", 2), ("large", 1), ("large", 2)]
    return tuple(
        Level(
            model=model,
            exit=exit_,
            accuracy=0.5 + i / 20,
            macs=1000 * (i + 1),
            latency=Latency(p50_ms=i + 1.0, p95_ms=i + 1.5, spread=0.1, runs=20, target="test machine"),
        )
        for i, (model, exit_) in enumerate(order)
    )
