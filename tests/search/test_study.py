"""Holds what a search promises: budgets kept, nothing evaluated twice, the true front, the same by seed."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from nas.bundle import Latency
from nas.cost import Cost
from nas.errors import BudgetError, SpaceError, StudyError
from nas.layers import conv, global_avg_pool, linear
from nas.net import Feature, Net
from nas.pareto import dominates
from nas.search import SAMPLERS, Interval, Maximize, Minimize, Objective, Study, read_study
from nas.search.study import Evaluate
from nas.space import Architecture, Candidate, SearchSpace

Enumerated = Callable[[SearchSpace], dict[str, Architecture]]
Start = Callable[..., Study]
Accuracy = Callable[[str], float]
Measurement = Callable[[float], Latency]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_the_promises(
    sampler: str, space: SearchSpace, start: Start, evaluate: Evaluate, tmp_path: Path
) -> None:
    evaluated = []

    def checked(candidate: Candidate) -> dict[str, float]:
        assert Cost.of(candidate.graph).macs <= 20_000
        assert Cost.of(candidate.graph, exit=0).params <= 150
        evaluated.append(candidate.id)
        return evaluate(candidate)

    settings = {"evaluate": checked, "budget": "macs<=20K, params@0<=150", "sampler": sampler}
    first = list(start(space, tmp_path, **settings).run(trials=11))
    study = start(space, tmp_path, **settings)
    assert study.trials == tuple(first)
    second = list(study.run(trials=13))
    assert list(study.run(trials=13)) == []
    assert study.trials == (*first, *second) == read_study(tmp_path).trials
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    assert len(evaluated) == len(set(evaluated)) == study.record.evaluated == 13
    assert evaluated == [trial.architecture.id for trial in study.trials if trial.state == "complete"]
    assert not study.exhausted


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_exhausted_space_gives_the_true_front(
    sampler: str, space: SearchSpace, enumerated: Enumerated, start: Start, accuracy: Accuracy, tmp_path: Path
) -> None:
    networks = enumerated(space)
    points = {
        id: (-accuracy(id), float(cost.macs))
        for id, architecture in networks.items()
        if (cost := Cost.of(space.graph(architecture))).macs <= 20_000
    }
    best = {id for id in points if not any(dominates(other, points[id]) for other in points.values())}

    study = start(space, tmp_path, budget="macs<=20K", sampler=sampler)
    list(study.run(trials=1000))
    assert study.exhausted
    assert study.record.evaluated == len(points) < len(networks)
    assert {trial.architecture.id for trial in study.front} == best
    macs = [trial.values["macs"] for trial in study.front]
    assert macs == sorted(macs)


def test_space_of_one_network(start: Start, tmp_path: Path) -> None:
    def build(net: Net) -> None:
        net.exit(head, net.input((1, 8, 8)))

    study = start(SearchSpace(lambda net, shape, classes: build(net), "tests:one").at((1, 8, 8), 4), tmp_path)
    list(study.run(trials=5))
    assert (study.record.evaluated, study.exhausted) == (1, True)


def head(x: Feature) -> Feature:
    return linear(global_avg_pool(x), 4)


def test_rare_networks_are_found(
    space: SearchSpace, enumerated: Enumerated, start: Start, tmp_path: Path
) -> None:
    least = min(Cost.of(space.graph(a)).macs for a in enumerated(space).values())
    study = start(space, tmp_path, budget=f"macs<={least}")
    assert sum(trial.evaluated for trial in study.run(trials=1)) == 1
    assert study.front.trials[0].values["macs"] == least


@pytest.mark.parametrize("seed", range(3))
def test_descents_leave_local_minima(seed: int, start: Start, tmp_path: Path) -> None:
    def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
        kind = net.choice("kind", "dear", "cheap")
        x = net.input(input_shape)
        exits = [net.choice(f"exit{index}", True, False) for index in range(5)]
        least_width = {"dear": 2, "cheap": 1}[kind]
        for index in range(10):
            with net.scope(f"layer{index}"):  # a change of kind draws all widths anew
                x = conv(x, net.choice(f"{kind}_width", *range(least_width, 10)), kernel_size=1)
        if any(exits):  # costs nothing less until the last of them is gone
            x = conv(x, 8)
        for exists in exits:
            if exists:
                net.exit(head, x)
        net.exit(head, x)

    space = SearchSpace(build, "tests:trap")
    least = space.resolve(lambda name, options: options[name.startswith(("kind", "exit"))])
    macs = Cost.of(space.graph(least)).macs
    study = start(space, tmp_path, budget=f"macs<={macs}", seed=seed)
    assert next(study.run(trials=1)).state == "complete", "what was found to be in reach is proposed first"
    assert [trial.values["macs"] for trial in study.front] == [macs]


def test_unreachable_budget_names_the_closest(
    space: SearchSpace, enumerated: Enumerated, start: Start, tmp_path: Path
) -> None:
    costs = [Cost.of(space.graph(a)) for a in enumerated(space).values()]
    least = min(cost.macs for cost in costs)
    study = start(space, tmp_path / "run", budget="macs<=10")
    with pytest.raises(BudgetError, match=rf"macs<=10 cannot be met: the least .* networks is {least}\b"):
        next(study.run(trials=1))
    with pytest.raises(BudgetError, match=r"none of \d+ networks has exit 5; name an earlier exit$"):
        next(start(space, tmp_path / "run", budget="params@5<=1K").run(trials=1))
    assert not (tmp_path / "run").exists()


def test_limits_that_exclude_each_other(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    costs = {"latency_ms": lambda candidate: 1e4 / Cost.of(candidate.graph).macs}
    dear = start(space, tmp_path, budget="macs<=2K, latency<=2ms", costs=costs)
    with pytest.raises(BudgetError, match=r"latency<=2ms cannot .* networks that keep the limits before"):
        next(dear.run(trials=1))

    def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
        width, kernel = (32, 1) if net.choice("wide", False, True) else (2, 9)
        net.exit(head, conv(net.input(input_shape), width, kernel_size=kernel))

    either = SearchSpace(build, "tests:either")
    cheap = start(either, tmp_path, budget="params<=170, memory<=1KiB")
    with pytest.raises(BudgetError, match=r"none of 4096 does; the closest: params<=170 must hold"):
        next(cheap.run(trials=1))
    deep = start(either, tmp_path, objectives=(Minimize("macs@1"),))
    with pytest.raises(BudgetError, match=r"macs@1 must exist, but the network has 1 exits"):
        next(deep.run(trials=1))


def test_networks_without_an_exit_of_the_objectives_are_not_evaluated(
    space: SearchSpace, start: Start, accuracy: Accuracy, tmp_path: Path
) -> None:
    def exits(candidate: Candidate) -> dict[str, float]:
        return {f"accuracy@{exit}": accuracy(candidate.id) for exit in range(len(candidate.graph.exits))}

    study = start(space, tmp_path, objectives=(Maximize("accuracy@1"),), evaluate=exits)
    list(study.run(trials=6))
    assert {trial.state for trial in study.trials} >= {"complete", "infeasible"}
    assert set(study.rejections) == {"accuracy@1"}


def test_seed_decides_everything(
    space: SearchSpace, start: Start, evaluate: Evaluate, tmp_path: Path
) -> None:
    def proposals(folder: str, seed: int) -> list[tuple[str, int]]:
        seen = []

        def noted(candidate: Candidate) -> dict[str, float]:
            seen.append((candidate.id, candidate.seed))
            return evaluate(candidate)

        list(start(space, tmp_path / folder, evaluate=noted, sampler="tpe", seed=seed).run(trials=15))
        return seen

    one, same, other = proposals("one", 3), proposals("same", 3), proposals("other", 4)
    assert one == same
    assert set(one).isdisjoint(other)
    assert len({seed for _, seed in one}) == 15


@pytest.mark.parametrize(
    "objectives", [(Maximize("accuracy"), Minimize("macs")), (Maximize("accuracy"),)], ids=["two", "one"]
)
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_restarts_change_nothing(
    sampler: str, objectives: tuple[Objective, ...], space: SearchSpace, start: Start, tmp_path: Path
) -> None:
    settings = {"sampler": sampler, "objectives": objectives, "budget": "macs<=40K"}
    whole = list(start(space, tmp_path / "whole", **settings).run(trials=30))
    for _ in range(0, len(whole), 5):
        list(islice(start(space, tmp_path / "parts", **settings).run(trials=30), 5))
    parts = read_study(tmp_path / "parts").trials
    assert [replace(trial, seconds=0) for trial in parts] == [replace(trial, seconds=0) for trial in whole]


def test_only_doubtful_latencies_are_measured(
    space: SearchSpace, start: Start, latency: Measurement, tmp_path: Path
) -> None:
    measured = []

    def predict(candidate: Candidate) -> Interval:
        value = Cost.of(candidate.graph).macs / 1e4
        return Interval(0.5 * value, value, 1.5 * value)

    def measure(candidate: Candidate) -> Latency:
        interval = predict(candidate)
        assert interval.low <= 1 < interval.high
        measured.append(candidate.id)
        return latency(1.25 * interval.value)

    costs = {"latency_ms": predict}
    study = start(space, tmp_path, budget="latency<=1ms", costs=costs, measure=measure)
    list(study.run(trials=25))
    assert len(measured) == len(set(measured))
    for trial in study.trials:
        factor = 1.25 if trial.architecture.id in measured else 1
        assert trial.values["latency_ms"] == factor * (trial.values["macs"] / 1e4)
        assert trial.state == "repeat" or (trial.state == "complete") == (trial.values["latency_ms"] <= 1)


def test_costs_at_exits(space: SearchSpace, start: Start, latency: Measurement, tmp_path: Path) -> None:
    def cost(candidate: Candidate, exit: int | None = None) -> float:
        return Cost.of(candidate.graph, exit).macs / 1e4

    def measure(candidate: Candidate, exit: int | None = None) -> Latency:
        return latency(cost(candidate, exit))

    for name, ways in {"cost": {"costs": {"latency_ms": cost}}, "measure": {"measure": measure}}.items():
        study = start(space, tmp_path / name, budget="latency@0<=1ms, latency<=2ms", **ways)
        list(study.run(trials=8))
        for trial in study.front:
            graph = space.graph(trial.architecture)
            assert trial.values["latency_ms@0"] == Cost.of(graph, exit=0).macs / 1e4 <= 1
            assert trial.values["latency_ms"] == Cost.of(graph).macs / 1e4 <= 2


def test_dear_costs_are_asked_last(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    def dear(candidate: Candidate) -> float:
        assert Cost.of(candidate.graph).macs <= 20_000
        return 1.0

    study = start(space, tmp_path, budget="macs<=20K, energy<=2mJ", costs={"energy_mj": dear})
    list(study.run(trials=10))
    assert {trial.state for trial in study.trials} >= {"infeasible", "complete"}
    with pytest.raises(StudyError, match=r"energy_mj of .* is nan"):
        next(start(space, tmp_path / "nan", costs={"energy_mj": lambda candidate: math.nan}).run(trials=1))


def test_options_may_depend_on_earlier_choices(start: Start, tmp_path: Path) -> None:
    def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
        first = net.choice("first", 2, 3, 4)
        x = conv(net.input(input_shape), first)
        net.exit(head, conv(x, net.choice("second", *range(first, 2 * first + 1))))

    study = start(SearchSpace(build, "tests:dependent"), tmp_path, sampler="tpe")
    list(study.run(trials=100))
    assert study.exhausted
    assert study.record.evaluated == 3 + 4 + 5
    assert all(dict(trial.architecture.choices).keys() == {"first", "second"} for trial in study.trials)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_choices_that_build_nothing_are_infeasible(sampler: str, start: Start, tmp_path: Path) -> None:
    def build(net: Net, input_shape: tuple[int, ...] = (1, 8, 8), num_classes: int = 4) -> None:
        x = net.input(input_shape)
        net.exit(
            head,
            conv(x, net.choice("width", *range(1, 21)), kernel_size=net.choice("kernel", 3, 99), padding=0),
        )

    space = SearchSpace(build, "tests:vanishing")
    study = start(space, tmp_path / "some", sampler=sampler)
    list(study.run(trials=30))
    assert study.record.evaluated == 20
    assert study.record.rejections == {"shape": sum(trial.state == "infeasible" for trial in study.trials)}
    assert read_study(tmp_path / "some").trials == study.trials
    with pytest.raises(SpaceError):
        next(start(space.at((1, 2, 2), 4), tmp_path / "none").run(trials=1))


def test_frame_has_a_row_per_trial(space: SearchSpace, start: Start, tmp_path: Path) -> None:
    study = start(space, tmp_path)
    list(study.run(trials=4))
    frame = study.record.frame()
    assert list(frame["number"]) == [trial.number for trial in study.trials]
    assert list(frame["choice.depth"]) == [dict(t.architecture.choices)["depth"] for t in study.trials]
    assert list(frame["macs"]) == [trial.values["macs"] for trial in study.trials]
