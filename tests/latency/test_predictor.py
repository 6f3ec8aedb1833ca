"""Predictions of machines that are made up: what follows the model is found again, and noise is borne."""

import json
import math
from random import Random

import numpy as np
import pytest

from nas.cost import Cost
from nas.errors import TargetError
from nas.graph import Graph
from nas.latency.features import chain_features, running_chains, spilled
from nas.latency.prediction import Sample
from nas.latency.predictor import CALL, LayerPredictor, fit_predictor
from nas.layers import batch_norm, conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from nas.space import SearchSpace
from nas.stored import graph_from_json, graph_to_json
from search_spaces import mixed
from search_spaces.tiny import space

KNOWN, UNSEEN = 150, 250
UNIT_MS = {"layers": 2e-3, "written": 1e-6, "read": 5e-7, "macs": 1e-8, "macs/width": 2e-8, CALL: 5e-3}


def machine_ms(graph: Graph, exit: int, lanes: int) -> float:
    """A machine with a price for each amount, drawn at random."""
    total_ms, weight_bytes = (exit + 2) * UNIT_MS[CALL], 0
    for chain, fused in running_chains(graph, exit):
        for name, amount in chain_features(chain, lanes, fused=fused).items():
            total_ms += Random(name).uniform(0.5, 2) * UNIT_MS.get(name.rpartition(": ")[2], 1e-7) * amount
        weight_bytes += 4 * chain.params
    return total_ms + 1e-8 * sum(spilled(weight_bytes).values())


def measured(graph: Graph, lanes: int = 16, factor: float = 1.0) -> Sample:
    exits = range(len(graph.exits))
    return Sample(graph, {exit: factor * machine_ms(graph, exit, lanes) for exit in exits})


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    rng = Random(0)
    return [space.graph(space.sample(rng)) for _ in range(KNOWN + UNSEEN)]


@pytest.fixture(scope="module")
def exact(graphs: list[Graph]) -> LayerPredictor:
    return fit_predictor([measured(graph) for graph in graphs[:KNOWN]], "made up")


def errors(predictor: LayerPredictor, graphs: list[Graph], lanes: int = 16) -> np.ndarray:
    """Predicted over true milliseconds of every exit, less 1."""
    return np.array(
        [
            predictor(graph, exit) / machine_ms(graph, exit, lanes) - 1
            for graph in graphs
            for exit in range(len(graph.exits))
        ]
    )


def test_a_machine_that_follows_the_model_is_found(graphs: list[Graph], exact: LayerPredictor) -> None:
    assert np.abs(errors(exact, graphs[:KNOWN])).max() < 1e-6
    unseen = np.abs(errors(exact, graphs[KNOWN:]))
    assert (unseen < 1e-6).mean() > 0.8  # the others have what the known ones have too little of
    assert exact.target == "made up"
    assert exact.intervals.last_ratio < 1.01
    assert exact.errors.networks == KNOWN
    assert exact.errors.within_10_ratio > 0.97
    assert exact.errors.spearman > 0.99
    assert all(ms >= 0 for ms in exact.factors_ms.values())


def test_some_exits_are_enough(graphs: list[Graph]) -> None:
    samples = []
    for number, graph in enumerate(graphs[:KNOWN]):
        last, exits_ms = len(graph.exits) - 1, measured(graph).exits_ms
        samples.append(Sample(graph, {exit: exits_ms[exit] for exit in {number % (last + 1), last}}))
    predictor = fit_predictor(samples, "")
    assert (np.abs(errors(predictor, graphs[KNOWN:])) < 1e-6).mean() > 0.8
    assert predictor.errors.networks == KNOWN


@pytest.mark.parametrize("lanes", [8, 16])
def test_lanes_are_found(graphs: list[Graph], lanes: int) -> None:
    assert fit_predictor([measured(graph, lanes) for graph in graphs[:80]], "").lanes == lanes


@pytest.mark.parametrize("ms", [0.1, 0.25, 0.3, 0.5, 1.0])
def test_networks_of_one_time_are_no_trouble(graphs: list[Graph], ms: float) -> None:
    predictor = fit_predictor([Sample(graphs[0], {len(graphs[0].exits) - 1: ms})] * 5, "")
    assert predictor(graphs[0]) == pytest.approx(ms)


def test_the_last_exit_is_meant(graphs: list[Graph], exact: LayerPredictor) -> None:
    graph = next(graph for graph in graphs if len(graph.exits) > 2)
    assert exact(graph) == exact(graph, len(graph.exits) - 1) > exact(graph, 0)


def test_a_network_read_from_a_file_is_predicted_the_same(graphs: list[Graph], exact: LayerPredictor) -> None:
    for graph in graphs[-20:]:
        stored = graph_from_json(graph_to_json(graph))
        for exit in range(len(graph.exits)):
            assert exact(stored, exit) == pytest.approx(exact(graph, exit))


def test_slow_phases_hardly_matter(graphs: list[Graph], exact: LayerPredictor) -> None:
    slowed = [
        measured(graph, factor=2 if place % 20 == 7 else 1) for place, graph in enumerate(graphs[:KNOWN])
    ]
    off = np.abs(errors(fit_predictor(slowed, ""), graphs[KNOWN:]))
    told = np.abs(errors(exact, graphs[KNOWN:])) < 1e-6
    assert np.median(off[told]) < 0.01
    assert (off[told] < 0.03).mean() > 0.95


def test_the_interval_covers_as_many_as_it_says(graphs: list[Graph]) -> None:
    rng = np.random.default_rng(0)
    factors = rng.lognormal(0, 0.05, KNOWN + UNSEEN)
    samples = [measured(graph, factor=factor) for graph, factor in zip(graphs, factors, strict=True)]
    predictor = fit_predictor(samples[:KNOWN], "")
    off = [
        abs(math.log(predictor(sample.graph) / sample.exits_ms[max(sample.exits_ms)]))
        for sample in samples[KNOWN:]
    ]
    assert 0.84 < np.mean(np.array(off) <= math.log(predictor.intervals.last_ratio)) < 0.96
    assert 1.06 < predictor.intervals.last_ratio < 1.2
    assert 0.03 < predictor.errors.mean_ratio < 0.08


def network(*, kernel_size: int = 3, norm: bool = False) -> Graph:
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), 10)

    x = conv_norm_act(net.input((1, 8, 8)), 16, kernel_size=kernel_size)
    net.exit(head, batch_norm(x) if norm else x)
    return net.graph()


def test_a_kind_of_layer_that_was_never_seen(exact: LayerPredictor) -> None:
    assert exact(network()) < math.inf
    assert exact(network(kernel_size=7)) == math.inf
    assert exact(network(norm=True)) == math.inf


def test_layers_that_were_never_seen_are_guessed_by_their_macs(exact: LayerPredictor) -> None:
    few, many = (network(kernel_size=size) for size in (7, 9))
    more_ms = (Cost.of(many).macs - Cost.of(few).macs) * exact.ms_per_mac
    assert exact.guess(many) - exact.guess(few) == pytest.approx(more_ms)
    assert exact.guess(network(norm=True)) == pytest.approx(exact(network()), rel=0.5), "a norm has no MACs"


def test_a_guess_does_not_depend_on_what_was_built_before(exact: LayerPredictor) -> None:
    """Blocks that are written often are kept in fewer chains."""
    space = SearchSpace(mixed.build).at((1, 19, 19), 7)
    architectures = [space.sample(Random(seed)) for seed in range(60)]
    before = [exact.guess(space.graph(architecture)) for architecture in architectures]
    cut = [len(space.graph(architecture).chains) for architecture in architectures]
    again = [SearchSpace(mixed.build).at((1, 19, 19), 7).graph(each) for each in architectures]
    assert [len(graph.chains) for graph in again] != cut
    assert [exact.guess(graph) for graph in again] == pytest.approx(before)


def test_a_guess_of_what_is_known(graphs: list[Graph], exact: LayerPredictor) -> None:
    for graph in graphs[:20]:
        for exit in range(len(graph.exits)):
            assert exact.guess(graph, exit) <= exact(graph, exit) * (1 + 1e-9)  # without spilled weights
            assert exact.guess(graph, exit) == pytest.approx(exact(graph, exit), rel=0.2)


@pytest.mark.parametrize("count", [5, 20])
def test_json_keeps_every_bit(graphs: list[Graph], count: int) -> None:
    predictor = fit_predictor([measured(graph) for graph in graphs[:count]], "board")
    assert math.isinf(predictor.intervals.last_ratio) == (count < 9)
    text = json.dumps(predictor.to_json(), allow_nan=False)
    read = LayerPredictor.from_json(json.loads(text))
    assert read == predictor
    assert [read(graph) for graph in graphs] == [predictor(graph) for graph in graphs]


@pytest.mark.parametrize(
    "change",
    [
        {"factors_ms": {}},
        {"factors_ms": {CALL: -1.0}},
        {"factors_ms": {CALL: math.inf}},
        {"factors_ms": [CALL]},
        {"factors_ms": None},
        {"intervals": {"last": 0.9, "early": 2.0}},
        {"intervals": {"last": math.nan, "early": 2.0}},
        {"intervals": {"last": "wide", "early": 2.0}},
        {"intervals": {"last": 2.0, "early": 0.9}},
        {"intervals": {"last": 2.0}},
        {"intervals": None},
        {"lanes": 0},
        {"lanes": None},
        {"errors": {}},
        {"errors": None},
    ],
)
def test_damaged_json(exact: LayerPredictor, change: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        LayerPredictor.from_json(exact.to_json() | change)
    for key in change:
        with pytest.raises(KeyError):
            LayerPredictor.from_json({name: value for name, value in exact.to_json().items() if name != key})


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_networks(graphs: list[Graph], count: int) -> None:
    with pytest.raises(TargetError, match=f"at least 3 networks, but got {count}; measure longer"):
        fit_predictor([measured(graph) for graph in graphs[:count]], "")
