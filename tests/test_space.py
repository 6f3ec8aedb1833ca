"""Search spaces answer with architectures that are stored, found again, mutated and refused as promised."""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest

from nas.errors import SpaceError
from nas.layers import conv, conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net, block
from nas.op import Shape
from nas.space import Architecture, Candidate, SearchSpace, load_space


@block
def head(x: Feature, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


def build(net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
    x = net.input(input_shape)
    for stage in range(net.choice("depth", 1, 2, 3)):
        with net.scope(f"stage{stage}"):
            x = conv_norm_act(x, net.choice("width", 4, 8), kernel_size=net.choice("kernel_size", 1, 3, 5))
            if net.choice("exit", False, True):
                net.exit(head, x, num_classes=num_classes)
    net.choice("unused", "a", "b")
    net.exit(head, x, num_classes=num_classes)


def build_wide(net: Net, input_shape: Shape, num_classes: int, channels: int) -> None:
    net.exit(head, conv(net.input(input_shape), channels), num_classes=num_classes)


class Builder:
    def __call__(self, net: Net, input_shape: Shape = (1, 6, 6), num_classes: int = 3) -> None:
        build(net, input_shape, num_classes)


space = SearchSpace(build)
wide = SearchSpace(partial(build_wide, channels=64))
called = SearchSpace(Builder())


def test_samples_give_every_option_the_same_chance() -> None:
    rng = Random(0)
    counts = Counter(dict(space.sample(rng).choices)["depth"] for _ in range(1500))
    assert set(counts) == {1, 2, 3} and max(counts.values()) - min(counts.values()) < 150


def test_the_same_generator_gives_the_same_samples() -> None:
    one, other = ([space.sample(rng) for _ in range(20)] for rng in (Random(5), Random(5)))
    assert one == other and len({architecture.id for architecture in one}) > 10


def test_architectures_survive_being_stored() -> None:
    rng = Random(1)
    for _ in range(50):
        architecture = space.at((3, 9, 5), 7).sample(rng)
        stored = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
        assert stored == architecture
        graph = SearchSpace(build).graph(stored)  # for its own shape and classes, not the space's
        assert (graph.id, graph.input_shape, graph.num_classes) == (architecture.id, (3, 9, 5), 7)
        assert graph == space.graph(stored)


def test_choices_determine_the_architecture() -> None:
    rng = Random(2)
    for _ in range(50):
        architecture = space.sample(rng)
        assert space.architecture(dict(architecture.choices)) == architecture


def test_twins_share_their_id() -> None:
    choices = dict(space.sample(Random(3)).choices)
    one, other = (space.architecture(choices | {"unused": option}) for option in ("a", "b"))
    assert one.id == other.id and one != other


def test_mutation_changes_one_choice_and_what_arises_from_it() -> None:
    rng = Random(4)
    for _ in range(300):
        architecture = space.sample(rng)
        before, after = dict(architecture.choices), dict(space.mutate(architecture, rng).choices)
        changed = [name for name in before.keys() & after.keys() if before[name] != after[name]]
        assert len(changed) == 1
        if changed != ["depth"]:
            assert before.keys() == after.keys()


def test_mutations_reach_every_neighbor() -> None:
    architecture = space.architecture(
        {"depth": 1, "stage0.width": 4, "stage0.kernel_size": 1, "stage0.exit": False, "unused": "a"}
    )
    rng = Random(5)
    found = {space.mutate(architecture, rng).choices[:4] for _ in range(500)}
    others = [choices for choices in found if choices[0] == ("depth", 1)]
    assert len(others) == 1 + 1 + 2 + 1  # unused, width, kernel_size, exit
    assert {choices[0][1] for choices in found} == {1, 2, 3}


def test_optuna_is_an_answer() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    architecture = space.resolve(trial.suggest_categorical)
    assert dict(architecture.choices) == trial.params


def test_a_candidate_builds_its_graph_when_asked() -> None:
    architecture = space.sample(Random(6))
    candidate = Candidate(SearchSpace(build), architecture, seed=3)
    assert (candidate.id, candidate.seed, candidate.graph.id) == (architecture.id, 3, architecture.id)
    assert space.candidate(lambda name, options: options[0]).graph.id


def test_spaces_know_their_name_shape_and_classes() -> None:
    assert (space.name, space.input_shape, space.num_classes) == (f"{__name__}:space", (1, 6, 6), 3)
    assert SearchSpace(build, "user:space").at((3, 8, 8), 5).name == "user:space"
    assert SearchSpace(lambda net, input_shape, num_classes: None).input_shape == (3, 32, 32)
    assert (wide.name, wide.sample(Random(0)).space, called.name) == (
        f"{__name__}:wide",
        f"{__name__}:wide",
        f"{__name__}:called",
    )
    assert repr(space) == f"SearchSpace({__name__}:space, input_shape=(1, 6, 6), num_classes=3)"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"depth": 4}, r"choice 'depth' must be one of \(1, 2, 3\), but got 4"),
        ({"depth": 1}, r"choice 'stage0\.width' must be given, but it is missing; options are \(4, 8\)"),
        ({"depth": [1]}, r"choice 'depth' must be one of \(1, 2, 3\), but got \[1\]"),
    ],
)
def test_choices_that_are_wrong(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        space.architecture(choices)


def test_choices_that_no_one_asks() -> None:
    choices = dict(space.sample(Random(7)).choices) | {"dept": 1}
    with pytest.raises(SpaceError, match=r"does not ask \['dept'\]; remove them"):
        space.architecture(choices)


def test_a_space_of_one_network_cannot_be_mutated() -> None:
    def one(net: Net, input_shape: Shape, num_classes: int) -> None:
        net.choice("width", 4)
        net.exit(head, net.input(input_shape), num_classes=num_classes)

    only = SearchSpace(one, "tests:only")
    with pytest.raises(SpaceError, match=r"must have a choice to be mutated, but .* has one network only"):
        only.mutate(only.sample(Random(0)), Random(0))


def test_code_that_changed_since_an_architecture_was_stored() -> None:
    architecture = space.sample(Random(8))
    stored = Architecture.from_json(architecture.to_json() | {"id": "0" * 32})
    with pytest.raises(SpaceError, match=r"must build network 000.*, but it builds .*code has changed"):
        space.graph(stored)


@pytest.mark.parametrize(
    "values",
    [{}, {"space": "a:b"}, []]
    + [{**space.sample(Random(0)).to_json(), "choices": choices} for choices in (3, {"depth": [1]})],
)
def test_json_that_is_no_architecture(values: Any) -> None:
    with pytest.raises(SpaceError, match="an architecture must have space, choices, input_shape"):
        Architecture.from_json(values)


def test_a_space_that_no_module_has() -> None:
    for function in (lambda net, input_shape, num_classes: None, partial(build_wide, channels=8), Builder()):
        nameless = SearchSpace(function).at((1, 4, 4), 2)
        with pytest.raises(SpaceError, match=r"no module has the space of .*; assign .* or give name="):
            _ = nameless.name
        assert repr(nameless).endswith("input_shape=(1, 4, 4), num_classes=2)")
        assert SearchSpace(function, "a:b").name == "a:b"


def test_a_build_function_that_ignores_shape_or_classes() -> None:
    def seven(net: Net, input_shape: Shape, num_classes: int) -> None:
        net.exit(head, net.input(input_shape), num_classes=7)

    def square(net: Net, input_shape: Shape, num_classes: int) -> None:
        net.exit(head, net.input((3, 8, 8)), num_classes=num_classes)

    for write in (seven, square):
        fixed = SearchSpace(write, "tests:fixed")
        assert fixed.at((3, 8, 8), 7).sample(Random(0)).num_classes == 7
        with pytest.raises(SpaceError, match=r"must be built for .* \(\(3, 8, 9\), 6\), but tests:fixed"):
            fixed.at((3, 8, 9), 6).sample(Random(0))


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, "10", True, None])
def test_classes_that_cannot_be(num_classes: Any) -> None:
    with pytest.raises(SpaceError, match="num_classes must be a positive integer, but got"):
        space.at((3, 8, 8), num_classes)


@pytest.mark.parametrize(
    "input_shape", [(28, 28), (0, 28, 28), (1, 28, 28.5), (), (3,), "abc", None, (True, 8, 8)]
)
def test_shapes_that_cannot_be(input_shape: Any) -> None:
    with pytest.raises(SpaceError, match=r"three positive integers \(C, H, W\), but got"):
        space.at(input_shape, 10)


def refused(write: Callable[[Net, Feature], object]) -> pytest.ExceptionInfo[SpaceError]:
    def build(net: Net, input_shape: Shape, num_classes: int) -> None:
        write(net, net.input(input_shape))

    with pytest.raises(SpaceError) as caught:
        SearchSpace(build, "tests:refused").sample(Random(0))
    return caught


def test_spaces_that_cannot_be_built() -> None:
    def two_alike(net: Net, x: Feature) -> None:
        net.choice("width", 4, 8)
        net.choice("width", 4, 8)

    strangers: list[Feature] = []

    def of_another_net(net: Net, x: Feature) -> None:
        strangers.append(x)
        net.exit(head, x + strangers[0], num_classes=3)

    def vanishing(net: Net, x: Feature) -> None:
        for _ in range(20):
            x = conv(x, 4, kernel_size=3, padding=0)

    refused(two_alike).match("choices must have different names, but 'width' is asked twice; open a scope")
    refused(lambda net, x: None).match(r"at least one exit, but it has none; close it with net\.exit")
    refused(vanishing).match(r"must not vanish, but .* \(3, 3\) leaves nothing of \(2, 2\)")
    of_another_net(first := Net(lambda name, options: options[0]), first.input((3, 32, 32)))
    refused(of_another_net).match("features must belong to one net, but 'add' reads one of another net")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("search_spaces.mobile", "must be named module:attribute, but got 'search_spaces.mobile'; try"),
        (":space", "must be named module:attribute, but got ':space'"),
        (".mobile:space", r"must be named module:attribute, but got '\.mobile:space'"),
        ("search_spaces.nothing:space", "in an importable module, but 'search_spaces.nothing' is not"),
        ("nothing.at.all:space", r"in an importable module, but 'nothing\.at\.all' is not; check the name"),
        ("search_spaces.mobile:spade", "space 'spade', but it has mobilenet_v1, mobilenet_v2, space"),
        ("search_spaces.mobile:build", "must have a space 'build'"),
        ("json:space", "must have a space 'space', but it has none"),
    ],
)
def test_names_of_no_space(name: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        load_space(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not"),
        ("x = (", r"SyntaxError: '\(' was never closed"),
        ("raise RuntimeError('no GPU')", "RuntimeError: no GPU; correct it or install what it needs"),
    ],
)
def test_a_module_that_cannot_be_imported(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text(f"{text}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpaceError, match=f"import without error, but 'lacking' raises {message}"):
        load_space("lacking:space")


def test_a_module_whose_space_is_wrong_says_so_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from nas import SearchSpace\nspace = SearchSpace(print).at((0, 8, 8), 3)\n"
    (tmp_path / "wrong.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpaceError, match="an input shape must be three positive integers"):
        load_space("wrong:space")
