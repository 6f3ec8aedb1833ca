"""A file for ExecuTorch computes what torch and ONNX Runtime compute, segment by segment and as a whole."""

import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
import onnxruntime as ort
import pytest
import torch

import search_spaces.mixed
import search_spaces.tiny
from nas.bundle import CONFIDENCE, IMAGE
from nas.errors import BundleError, MissingExtraError
from nas.export.executorch import write_executorch
from nas.model import Model
from nas.onnx import onnx_model, random_weights, shipped_segments, tensor_names

in_executorch = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("executorch") is None, reason="executorch must be installed, but is not"),
    pytest.mark.filterwarnings("ignore"),  # it calls its own API experimental, and what it imports deprecated
]


SPACES = {"mixed": search_spaces.mixed.space.at((3, 12, 12), 4), "tiny": search_spaces.tiny.space}


def sampled(name: str, seed: int = 0) -> Model:
    """A network of a space with at least two exits; images of `tiny` have one channel."""
    space, rng = SPACES[name], Random(seed)
    graph = space.graph(space.sample(rng))
    while len(graph.exits) < 2:
        graph = space.graph(space.sample(rng))
    model = Model(graph)
    model.set_weights(random_weights(graph))
    return model


def images_of(model: Model, count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *model.graph.input_shape), np.uint8)


def logits_of(model: Model, images: np.ndarray) -> list[np.ndarray]:
    """What torch says at each exit."""
    with torch.no_grad():
        return [logits.numpy() for logits in model.eval()(torch.from_numpy(images))]


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_an_exit_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"exit must be from 0 to \d, but got 9"):
        write_executorch(sampled("mixed"), tmp_path / "network.pte", exit=9)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backends.xnnpack.partition.xnnpack_partitioner", "exir"):
        monkeypatch.setitem(sys.modules, f"executorch.{name}", None)
    with pytest.raises(MissingExtraError, match=r"executorch must be installed.*nas-dial\[executorch\]"):
        write_executorch(sampled("mixed"), tmp_path / "network.pte")
    assert not list(tmp_path.iterdir())


class TestInExecutorch:
    pytestmark = in_executorch

    @pytest.mark.parametrize(("name", "seed"), [("mixed", 0), ("mixed", 1), ("tiny", 0)])
    def test_segments_make_what_those_of_a_bundle_make(self, tmp_path: Path, name: str, seed: int) -> None:
        from executorch.runtime import Runtime

        model = sampled(name, seed)
        graph, weights, images = model.graph, model.weights(), images_of(model, 5)
        path = write_executorch(model, tmp_path / "network.pte")
        assert model.training
        program = Runtime.get().load_program(path)
        assert program.method_names == {segment.name for segment in shipped_segments(graph)}
        answers = logits_of(model, images)
        methods = {name: program.load_method(name) for name in program.method_names}
        for number, image in enumerate(images):
            made = {IMAGE: image[None]}
            for segment in shipped_segments(graph):
                reads, makes = tensor_names(graph, segment)
                makes = tuple(name for name in makes if name != CONFIDENCE)
                found = methods[segment.name].execute([torch.from_numpy(made[name]) for name in reads])
                session = ort.InferenceSession(onnx_model(graph, weights, segment))
                expected = session.run(list(makes), {name: made[name] for name in reads})
                for tensor, array in zip(found, expected, strict=True):
                    assert_close(tensor.numpy(), array)
                made |= dict(zip(makes, expected, strict=True))
                if segment.name.startswith("head"):
                    exit = int(segment.name.removeprefix("head_"))
                    assert_close(found[0].numpy(), answers[exit][number : number + 1])

    @pytest.mark.parametrize("exit", [0, 1])
    def test_a_whole_exit_answers_as_the_network(self, tmp_path: Path, exit: int) -> None:
        from executorch.runtime import Runtime

        model = sampled("mixed", 3)
        images = images_of(model, 20)
        path = write_executorch(model, tmp_path / "network.pte", exit=exit)
        method = Runtime.get().load_program(path).load_method("forward")
        found = [method.execute([torch.from_numpy(image[None])])[0].numpy().copy() for image in images]
        assert_close(np.concatenate(found), logits_of(model, images)[exit])

    def test_a_network_that_gives_no_numbers(self, tmp_path: Path) -> None:
        model = sampled("mixed")
        model.set_weights({name: np.full_like(value, np.nan) for name, value in model.weights().items()})
        with pytest.raises(BundleError, match=r"exported logits must equal the model's within nan"):
            write_executorch(model, tmp_path / "network.pte", exit=0)
        assert not list(tmp_path.iterdir())
