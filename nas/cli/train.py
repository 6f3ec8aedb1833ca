"""Train networks of a search's front for longer.

All exits are trained at once. The networks are named net0, net1, … in order of MACs and kept in
RUN/models/NAME. A training that was interrupted continues; one that is done is not repeated.

Example:
  nas train runs/d --epochs 30
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.arguments import add_folder, add_json, positive
from nas.cli.job import NETWORK_FILE, WEIGHTS_FILE, Run, load_search_space, write_file
from nas.cli.output import write_json, write_table
from nas.cli.progress import LiveLine
from nas.cost import Cost
from nas.errors import StudyError
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.data import Data
    from nas.search import Trial
    from nas.train import Epoch, TrainConfig

__all__ = ["add_arguments", "execute", "spread"]

MOST = 4  # networks, unless --top says otherwise


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--epochs", type=positive, default=30, help="of each network (default 30)")
    parser.add_argument(
        "--top",
        type=positive,
        default=MOST,
        metavar="K",
        help=f"networks trained, spread over the front, the most accurate among them (default {MOST})",
    )
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.train import TrainConfig

    run = Run.load(arguments.folder)
    chosen = spread(run.record().front.trials, arguments.top)
    if not chosen:
        raise StudyError(f"a front must have a network, but that of {run.folder} is empty; search on")
    data, seed = run.data(), run.job.seed
    config = TrainConfig(epochs=arguments.epochs, seed=seed, threads=run.job.threads)
    networks = []
    with LiveLine() as line:
        for number, trial in enumerate(chosen):
            tell = _reporter(line, number, len(chosen), config)
            networks.append(_train(run.models / f"net{number}", trial, (data, config), tell))
    if arguments.json:
        write_json({"networks": networks})
    else:
        rows = [(network["name"], *exit.values()) for network in networks for exit in network["exits"]]
        write_table(Table.of(("model", "exit", "MACs", "accuracy"), rows))


def spread(front: Sequence[Trial], count: int) -> list[Trial]:
    """So many trials at equal steps along the MACs of a front, the most accurate among them."""
    ordered = sorted(front, key=lambda trial: trial.values["macs"])
    last = len(ordered) - 1
    if count > last:
        return ordered
    places = [round(step * last / max(1, count - 1)) for step in range(count)]
    best = max(range(len(ordered)), key=lambda place: ordered[place].values["accuracy"])
    nearest = min(range(count), key=lambda step: abs(places[step] - best))
    places[nearest] = best
    return [ordered[place] for place in sorted(places)]


def _reporter(line: LiveLine, number: int, networks: int, config: TrainConfig) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        done = number * config.epochs + epoch.number + 1
        text = f"net{number}, accuracy {epoch.accuracies[-1]:.4f}"
        line.count(done, networks * config.epochs, text)

    return tell


def _train(
    folder: Path, trial: Trial, given: tuple[Data, TrainConfig], tell: Callable[[Epoch], None]
) -> dict[str, Any]:
    """Train one network in its folder; the description that is written last, when all the rest is there."""
    from nas.model import Model
    from nas.train import fit

    data, config = given
    folder.mkdir(parents=True, exist_ok=True)
    graph = load_search_space(trial.architecture.space, data).graph(trial.architecture)
    model = Model(graph, seed=config.seed)
    history = fit(model, data, config, checkpoint=folder / "checkpoint.safetensors", on_epoch=tell)
    model.save(folder / WEIGHTS_FILE)
    network = {
        "name": folder.name,
        "trial": trial.number,
        "architecture": trial.architecture.to_json(),
        "config": config.to_json(),
        "exits": [
            {"exit": exit, "macs": Cost.of(graph, exit).macs, "accuracy": accuracy}
            for exit, accuracy in enumerate(history.accuracies)
        ],
    }
    write_file(folder / NETWORK_FILE, network)
    return network
