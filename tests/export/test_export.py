"""A bundle computes what its models compute, and its levels say what was measured."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest
import torch
from torch import nn

from nas.bundle import Bundle, Latency, Level
from nas.cost import Cost
from nas.data import Data, load_data
from nas.errors import BundleError
from nas.export import ExportConfig, export
from nas.export.measuring import MeasuredLevel, dial_levels
from nas.latency import LocalTarget
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model, torch_layer
from nas.net import Feature, Net, block
from nas.onnx import LayerWriter, onnx_nodes
from nas.op import Op, Shape
from nas.runtime import Runtime
from nas.space import Architecture, SearchSpace
from nas.train import TrainConfig, accuracies, fit, predict

torch.set_num_threads(1)


@block
def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(conv_norm_act(x, 16)), num_classes)


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = net.input(input_shape)
    width = net.choice("width", 4, 8)
    for stage in range(3):
        x = conv_norm_act(x, width << stage, kernel_size=3, stride=1 + (stage == 1), name=f"stage{stage}")
        net.exit(head, x, num_classes)


space = SearchSpace(build)
ARCHITECTURES = {name: space.architecture({"width": width}) for name, width in (("small", 4), ("large", 8))}


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


@pytest.fixture(scope="module")
def models(data: Data) -> dict[str, Model]:
    models = {name: Model(space.graph(architecture)) for name, architecture in ARCHITECTURES.items()}
    for model in models.values():
        fit(model, data, TrainConfig(epochs=2))
    return models


@pytest.fixture(scope="module")
def bundle(models: dict[str, Model], data: Data, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(
        models,
        tmp_path_factory.mktemp("bundles") / "digits",
        data=data,
        architectures=ARCHITECTURES,
        provenance={"seed": 7, "budget": "macs<=1M"},
        config=ExportConfig(torch_weights=True),
    )


def path_of(bundle: Bundle) -> Path:
    assert bundle.path is not None
    return bundle.path


def test_every_level_gives_the_models_logits(bundle: Bundle, models: dict[str, Model], data: Data) -> None:
    runtime = Runtime.load(path_of(bundle))
    assert len(runtime.levels) >= 3
    for number, level in enumerate(runtime.levels):
        expected = predict(models[level.model], data.x_test)[level.exit]
        np.testing.assert_allclose(runtime.run(data.x_test, number).logits, expected, rtol=1e-4, atol=1e-4)


def test_loading_gives_what_export_returned(bundle: Bundle) -> None:
    assert Bundle.load(path_of(bundle)) == bundle
    assert Bundle.load(path_of(bundle)).to_json() == bundle.to_json()
    assert [model.name for model in bundle.models] == ["large", "small"]


def test_levels_say_what_was_measured(bundle: Bundle, models: dict[str, Model], data: Data) -> None:
    exits = bundle.provenance["exits"]
    assert len(exits) == 6
    for name, model in models.items():
        found = [record for record in exits if record["model"] == name]
        assert [record["accuracy"] for record in found] == pytest.approx(
            accuracies(model, data.x_val, data.y_val)
        )
        assert [record["test_accuracy"] for record in found] == pytest.approx(
            accuracies(model, data.x_test, data.y_test)
        )
        assert [record["macs"] for record in found] == [Cost.of(model.graph, k).macs for k in range(3)]
    assert {(level.model, level.exit) for level in bundle.levels} <= {(e["model"], e["exit"]) for e in exits}
    macs = [level.macs for level in bundle.levels]
    assert macs == sorted(macs)
    for name in models:
        accuracy = [level.accuracy for level in bundle.levels if level.model == name]
        assert accuracy and accuracy == sorted(accuracy)


def test_provenance_says_where_it_comes_from(bundle: Bundle, data: Data) -> None:
    origin = bundle.provenance
    assert (origin["seed"], origin["budget"]) == (7, "macs<=1M")
    assert origin["data"] == {"name": "digits", "hash": data.hash}
    assert origin["versions"]["numpy"] == np.__version__
    for model in bundle.models:
        assert Architecture.from_json(model.architecture) == ARCHITECTURES[model.name]
        assert model.id == ARCHITECTURES[model.name].id


def test_torch_weights_are_the_models(bundle: Bundle, models: dict[str, Model], data: Data) -> None:
    for name, model in models.items():
        assert f"models/{name}/model.safetensors" in bundle.files
        stored = Model.load(path_of(bundle) / "models" / name / "model.safetensors")
        for got, expected in zip(predict(stored, data.x_val), predict(model, data.x_val), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_a_tampered_file_is_found(models: dict[str, Model], data: Data, tmp_path: Path) -> None:
    export({"small": models["small"]}, tmp_path / "bundle", data=data)
    file = tmp_path / "bundle/models/small/head_1.onnx"
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"head_1\.onnx must have the sha256"):
        Runtime.load(tmp_path / "bundle")


def test_levels_are_timed_on_the_target(models: dict[str, Model], data: Data, tmp_path: Path) -> None:
    target, steps = LocalTarget(), list[str]()
    bundle = export({"m": models["small"]}, tmp_path / "b", data=data, target=target, progress=steps.append)
    assert steps == ["writing m", "checking m", "measuring m"]
    times = [level.latency for level in bundle.levels if level.latency is not None]
    assert len(times) == len(bundle.levels)
    assert {latency.target for latency in times} == {target.identity}
    assert [latency.p50_ms for latency in times] == sorted(latency.p50_ms for latency in times)


def test_a_model_with_broken_weights_is_not_written(data: Data, tmp_path: Path) -> None:
    model = Model(space.graph(ARCHITECTURES["small"]))
    with torch.no_grad():
        model.state_dict()["stage2.conv.weight"].fill_(float("nan"))
    with pytest.raises(BundleError, match="those of 'broken' at exit 2 differ by nan"):
        export({"broken": model}, tmp_path / "bundle", data=data)
    assert list(tmp_path.iterdir()) == []


@final
@dataclass(frozen=True)
class Softplus(Op):
    def out_shape(self, *inputs: Shape) -> Shape:
        (x,) = inputs
        return x


def test_a_wrong_onnx_rule_is_found_and_an_older_bundle_stays(
    models: dict[str, Model], data: Data, tmp_path: Path
) -> None:
    @torch_layer.register
    def _(op: Softplus, *in_shapes: Shape) -> nn.Module:
        return nn.Softplus()

    @onnx_nodes.register
    def _(op: Softplus, layer: LayerWriter) -> None:
        layer.node("Relu", *layer.inputs)

    def soft_build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
        x = conv_norm_act(net.input(input_shape), 4)
        net.exit(head, net.apply(Softplus(), x, name="softplus"), num_classes)

    soft = SearchSpace(soft_build, "soft")
    folder = tmp_path / "bundle"
    older = export({"small": models["small"]}, folder, data=data)
    with pytest.raises(BundleError, match="must equal the model's"):
        export({"soft": Model(soft.graph(soft.sample(Random(0))))}, folder, data=data)
    assert Bundle.load(folder) == older
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".hidden", "a b", "-rf", "naïve"])
def test_unsafe_names(models: dict[str, Model], data: Data, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="a model's name must be"):
        export({name: models["small"]}, tmp_path / "bundle", data=data)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_in_case_only(models: dict[str, Model], data: Data, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"must differ in more than case.*\['A', 'a'\]; rename"):
        export({"A": models["small"], "b": models["small"], "a": models["large"]}, tmp_path / "b", data=data)
    assert list(tmp_path.iterdir()) == []


def test_provenance_that_is_no_json_is_found_first(
    models: dict[str, Model], data: Data, tmp_path: Path
) -> None:
    steps = list[str]()
    with pytest.raises(BundleError, match=r"must be plain JSON values, but got: .*float32"):
        export(models, tmp_path / "b", data=data, provenance={"x": np.float32(3)}, progress=steps.append)
    assert steps == []
    assert list(tmp_path.iterdir()) == []


def test_models_must_fit_the_data(data: Data, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="at least one"):
        export({}, tmp_path / "bundle", data=data)
    wider = space.at((1, 9, 8), 10)
    with pytest.raises(BundleError, match=r"'m' has \(\(1, 9, 8\), 10\)"):
        export({"m": Model(wider.graph(wider.sample(Random(0))))}, tmp_path / "bundle", data=data)


@pytest.mark.parametrize("seed", range(20))
def test_no_level_is_worse_than_a_faster_one_of_its_model(seed: int) -> None:
    rng = Random(seed)
    exits = [
        MeasuredLevel(
            Level(
                model=f"m{i % 2}",
                exit=i,
                accuracy=rng.randrange(10) / 10,
                macs=rng.randrange(100),
                latency=Latency(p50_ms=rng.randrange(9), p95_ms=9, spread=0, runs=1, target="t"),
            ),
            test_accuracy=rng.random(),
        )
        for i in range(15)
    ]
    levels = dial_levels(exits)
    assert [_ms(level) for level in levels] == sorted(_ms(level) for level in levels)
    for level in (found.level for found in exits):
        alike = [found.level for found in exits if found.level.model == level.model]
        faster = [other for other in alike if _ms(other) < _ms(level)]
        if all(other.accuracy <= level.accuracy for other in faster):
            twins = [_ms(other) for other in levels if other.model == level.model]
            assert level in levels or _ms(level) in twins
        else:
            assert level not in levels


def _ms(level: Level) -> float:
    assert level.latency
    return level.latency.p50_ms
