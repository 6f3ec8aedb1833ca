"""What is known of one machine, made up, helps to predict another of which little was measured."""

import json
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest

from nas.cost import Cost
from nas.errors import TargetError
from nas.graph import Graph
from nas.latency import Calibration, Measured
from nas.latency.prediction import Sample
from nas.latency.predictor import LayerPredictor, fit_predictor
from nas.latency.transfer import TransferredPredictor, transfer_predictor
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from search_spaces.tiny import space

KNOWN = 60


def laptop_ms(graph: Graph, exit: int) -> float:
    return 0.02 + 2e-6 * Cost.of(graph, exit).macs


def board_ms(graph: Graph, exit: int) -> float:
    """Slower, and by layers more than by multiplications."""
    layers = sum(
        bool(layer.macs)
        for chain, feeds in zip(graph.chains, graph.chain_feeds, strict=True)
        for layer in chain.layers
        if graph.runs(feeds, exit)
    )
    return 0.1 + 0.03 * layers + 5e-6 * Cost.of(graph, exit).macs


def on_laptop(graph: Graph) -> Sample:
    return Sample(graph, {exit: laptop_ms(graph, exit) for exit in range(len(graph.exits))})


def on_board(graph: Graph) -> Sample:
    return Sample(graph, {exit: board_ms(graph, exit) for exit in (len(graph.exits) - 1, 0)})


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    rng = Random(0)
    return [space.graph(space.sample(rng)) for _ in range(KNOWN + 200)]


@pytest.fixture(scope="module")
def laptop(graphs: list[Graph]) -> LayerPredictor:
    return fit_predictor([on_laptop(graph) for graph in graphs[:KNOWN]], "laptop")


def transferred(laptop: LayerPredictor, graphs: list[Graph], count: int) -> TransferredPredictor:
    samples = [on_board(graph) for graph in graphs[KNOWN : KNOWN + count]]
    return transfer_predictor(laptop, graphs[:KNOWN], samples, "board")


def wide_kernel() -> Graph:
    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), 10)

    net = Net(lambda name, options: options[0])
    net.exit(head, conv_norm_act(net.input((1, 8, 8)), 16, kernel_size=7))
    return net.graph()


def off(predictor: LayerPredictor | TransferredPredictor, graphs: list[Graph]) -> np.ndarray:
    unseen = [graph for graph in graphs[-100:] if predictor(graph) < math.inf]
    assert len(unseen) > 30
    return np.array([abs(predictor(graph) / board_ms(graph, len(graph.exits) - 1) - 1) for graph in unseen])


def test_more_networks_tell_more(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    errors = [off(transferred(laptop, graphs, count), graphs).mean() for count in (3, 10, 50)]
    assert errors[2] < min(errors[:2])
    assert errors[1] < 0.2
    assert errors[2] < 0.12


def test_ten_networks_and_another_machine_tell_more_than_ten_networks(
    laptop: LayerPredictor, graphs: list[Graph]
) -> None:
    alone = fit_predictor([on_board(graph) for graph in graphs[KNOWN : KNOWN + 10]], "board")
    both = transferred(laptop, graphs, 10)
    assert sum(both(graph) < math.inf for graph in graphs) > sum(alone(graph) < math.inf for graph in graphs)
    common = [graph for graph in graphs[-150:] if alone(graph) < math.inf and both(graph) < math.inf]
    assert len(common) > 50
    assert np.median(off(both, common)) < np.median(off(alone, common))


def test_networks_that_the_known_machine_cannot_run_are_left_out(
    laptop: LayerPredictor, graphs: list[Graph]
) -> None:
    chosen = [graph for graph in graphs[KNOWN:] if laptop(graph) < math.inf][:12]
    known = transfer_predictor(laptop, graphs[:KNOWN], [on_board(graph) for graph in chosen], "board")
    strange = [*chosen[:5], wide_kernel(), *chosen[5:]]
    assert laptop(strange[5]) == math.inf
    again = transfer_predictor(laptop, graphs[:KNOWN], [on_board(graph) for graph in strange], "board")
    assert again.to_json() == known.to_json()
    with pytest.raises(TargetError, match="at least 3 networks, but got 0"):
        transfer_predictor(laptop, graphs[:KNOWN], [on_board(wide_kernel())] * 5, "board")


def test_the_same_machine_is_found_again(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    samples = [on_laptop(graph) for graph in graphs[KNOWN : KNOWN + 20]]
    samples = [sample for sample in samples if laptop(sample.graph) < math.inf]
    predictor = transfer_predictor(laptop, graphs[:KNOWN], samples, "laptop")
    for sample in samples:
        assert predictor(sample.graph) == pytest.approx(laptop(sample.graph), rel=0.03)


def test_errors_are_those_of_networks_left_out(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    predictor = transferred(laptop, graphs, 40)
    assert predictor.target == "board"
    assert predictor.errors.networks == 40
    assert predictor.errors.mean_ratio == pytest.approx(off(predictor, graphs).mean(), rel=0.7)
    assert 1 < predictor.intervals.last_ratio < 1.4
    covered = np.log1p(off(predictor, graphs)) <= math.log(predictor.intervals.last_ratio)
    assert covered.mean() > 0.8
    few = transferred(laptop, graphs, 5)
    assert few.intervals.last_ratio == few.intervals.early_ratio == math.inf


def test_each_exit_has_its_time(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    predictor = transferred(laptop, graphs, 50)
    graph = next(graph for graph in graphs if len(graph.exits) > 2)
    assert predictor(graph) == predictor(graph, len(graph.exits) - 1) > predictor(graph, 0)
    assert predictor(graph, 0) == pytest.approx(board_ms(graph, 0), rel=0.3)


def test_a_layer_that_the_known_machine_never_ran(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    predictor = transferred(laptop, graphs, 10)
    assert predictor(wide_kernel()) == math.inf
    assert 0 < predictor.guess(wide_kernel()) < math.inf
    assert predictor.guess(graphs[0]) == pytest.approx(predictor(graphs[0]))


def test_json_keeps_every_bit(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    predictor = transferred(laptop, graphs, 12)
    read = TransferredPredictor.from_json(json.loads(json.dumps(predictor.to_json(), allow_nan=False)))
    assert read == predictor
    assert [read(graph) for graph in graphs] == [predictor(graph) for graph in graphs]


@pytest.mark.parametrize(
    "change",
    [
        {"slopes": {}},
        {"slopes": {"macs": math.nan}, "means": {"macs": 0.0}},
        {"means": None},
        {"log_ms": math.inf},
        {"log_ms": None},
        {"known": {}},
        {"intervals": {}},
        {"errors": None},
    ],
)
def test_damaged_json(laptop: LayerPredictor, graphs: list[Graph], change: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        TransferredPredictor.from_json(transferred(laptop, graphs, 3).to_json() | change)


def test_too_few_networks(laptop: LayerPredictor, graphs: list[Graph]) -> None:
    with pytest.raises(TargetError, match="at least 3 networks, but got 2"):
        transferred(laptop, graphs, 2)


def test_a_calibration_from_another(tmp_path: Path) -> None:
    rng = Random(0)
    architectures = list(dict.fromkeys(space.sample(rng) for _ in range(90)))

    known, new = [], []
    for number, architecture in enumerate(architectures):
        graph = space.graph(architecture)
        last = len(graph.exits) - 1
        if number < KNOWN:
            known.append(Measured(architecture, {last: laptop_ms(graph, last)}))
        else:
            new.append(Measured(architecture, {last: board_ms(graph, last)}))
    laptop = Calibration.of(space, "laptop", known)
    board = Calibration.of(space, "board", new[:12], laptop)
    assert isinstance(board.predictor, TransferredPredictor)
    alone = Calibration.of(space, "board", new[:12])
    assert board.predictor.errors.mean_ratio < alone.predictor.errors.mean_ratio
    board.save(tmp_path / "board.json")
    assert Calibration.load(tmp_path / "board.json") == board
    again = Calibration.of(space, "third", new[:12], board)  # goes by the laptop too
    assert isinstance(again.predictor, TransferredPredictor)
    assert again.predictor.known == laptop.predictor
