"""Train networks of a search's front for longer.

All exits are trained at once; --exits says how they learn, in settings of nas.train.TrainConfig: exit_loss,
combine, gradients, distill, distill_weight, distill_temperature. A network is named after its trial, net24
for trial 24, and kept in RUN/models/NAME. A training that was interrupted continues, one that is done is not
repeated, and one with other settings begins anew in place of the old. Which networks were asked for last is
what nas export takes.

Example:
  nas train runs/d --epochs 30
  nas train runs/d --exits gradients=equilibrium,distill=last
  nas train runs/d --exits distill=teacher --teacher runs/large/models/net7/model.safetensors
"""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nas.cascade import CascadeCost
from nas.cli.arguments import add_folder, add_json, positive, read_settings
from nas.cli.job import (
    NETWORK_FILE,
    SELECTION_FILE,
    WEIGHTS_FILE,
    Run,
    load_search_space,
    read_file,
)
from nas.cli.output import write_json, write_table
from nas.cli.progress import LiveLine
from nas.errors import StudyError
from nas.files import save_json
from nas.report.tables import Table
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.data import Data
    from nas.model import Model
    from nas.search import Trial
    from nas.train import Epoch, TrainConfig

__all__ = ["add_arguments", "execute", "spread"]

EXIT_SETTINGS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "exit_loss": str,
        "combine": str,
        "gradients": str,
        "distill": str,
        "distill_weight": float,
        "distill_temperature": float,
    }
)
MOST = 4  # networks, unless --top says otherwise


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--epochs", type=positive, default=30, help="of each network (default 30)")
    parser.add_argument(
        "--exits",
        type=_exit_settings,
        default={},
        metavar="NAME=VALUE,…",
        help="how exits learn, such as combine=sum or distill=ensemble (default: from labels alone)",
    )
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="trained network, for distill=teacher")
    parser.add_argument(
        "--top",
        type=positive,
        default=MOST,
        metavar="K",
        help=f"networks trained, spread over the front, the most accurate among them (default {MOST})",
    )
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.model import Model
    from nas.train import TrainConfig
    from nas.train.lesson import check_teacher

    run = Run.load(arguments.folder)
    chosen = spread(run.record.front.trials, arguments.top)
    if not chosen:
        raise StudyError(f"a front must have a network, but that of {run.folder} is empty; search on")
    data, seed = run.data(), run.record.settings.seed
    config = TrainConfig(epochs=arguments.epochs, seed=seed, threads=run.job.threads, **arguments.exits)
    folders = _folders(run, chosen)
    teacher = Model.load(_outside(arguments.teacher, folders)) if arguments.teacher else None
    check_teacher(config, teacher, input_shape=data.input_shape, num_classes=data.num_classes)
    settings = {"config": config.to_json(), "teacher": _hash(arguments.teacher)}
    found = {folder: _described(folder, trial, settings) for folder, trial in folders.items()}
    with LiveLine() as line:
        pending = [folder for folder, network in found.items() if "exits" not in network]
        for number, folder in enumerate(pending):
            _make_ready(folder, found[folder], line)
            tell = _reporter(line, folder.name, number=number, networks=len(pending), config=config)
            found[folder] = _train(folder, found[folder], data, config=config, teacher=teacher, tell=tell)
    networks = list(found.values())
    save_json(run.models / SELECTION_FILE, {"networks": [network["name"] for network in networks]})
    if arguments.json:
        write_json({"networks": networks})
    else:
        rows = [(network["name"], *exit.values()) for network in networks for exit in network["exits"]]
        write_table(Table.of(("model", "exit", "MACs", "accuracy"), rows))


def _exit_settings(text: str) -> dict[str, Any]:
    """Settings of a training that concern exits, as in `combine=sum,distill_weight=0.5`."""
    return read_settings(text, EXIT_SETTINGS)


def _outside(teacher: Path, folders: Iterable[Path]) -> Path:
    """The teacher's file, which a training must not replace."""
    for folder in folders:
        if teacher.resolve().is_relative_to(folder.resolve()):
            raise StudyError(
                f"a teacher must not be a network that is trained now, but {teacher} is; copy it elsewhere"
            )
    return teacher


def _hash(teacher: Path | None) -> str | None:
    """What tells one teacher from another."""
    return None if teacher is None else sha256(teacher.read_bytes()).hexdigest()[:16]


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


def _folders(run: Run, trials: Sequence[Trial]) -> dict[Path, Trial]:
    return {run.models / f"net{trial.number}": trial for trial in trials}


def _described(folder: Path, trial: Trial, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a network: what it is and how it is trained, and its exits if that is done."""
    network = {
        "name": folder.name,
        "trial": trial.number,
        "architecture": trial.architecture.to_json(),
        **settings,
    }
    before = read_file(folder / NETWORK_FILE)
    done = network.items() <= before.items() and (folder / WEIGHTS_FILE).exists()
    return before if done else network


def _make_ready(folder: Path, network: dict[str, Any], line: LiveLine) -> None:
    """A folder for the training of a network; one of the same network trained otherwise is emptied."""
    if network.items() <= read_file(folder / NETWORK_FILE).items():
        return
    if folder.exists():
        line.show("")
        print(f"nas: {folder.name} was trained with other settings and is trained afresh", file=sys.stderr)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    save_json(folder / NETWORK_FILE, network)


def _reporter(
    line: LiveLine, name: str, *, number: int, networks: int, config: TrainConfig
) -> Callable[[Epoch], None]:
    """Shows the epochs of a network, given its number and how many there are."""

    def tell(epoch: Epoch) -> None:
        done = number * config.epochs + epoch.number + 1
        line.count(done, networks * config.epochs, f"{name}, accuracy {epoch.accuracies[-1]:.4f}")

    return tell


def _train(
    folder: Path,
    network: dict[str, Any],
    data: Data,
    *,
    config: TrainConfig,
    teacher: Model | None,
    tell: Callable[[Epoch], None],
) -> dict[str, Any]:
    """Train one network in its folder; its exits are described last, when all the rest is there."""
    from nas.model import Model
    from nas.train import fit

    architecture = Architecture.from_json(network["architecture"])
    graph = load_search_space(architecture.space).graph(architecture)
    model = Model(graph, seed=config.seed)
    checkpoint = folder / "checkpoint.safetensors"
    history = fit(model, data, config, teacher=teacher, checkpoint=checkpoint, on_epoch=tell)
    model.save(folder / WEIGHTS_FILE)
    asked = [config.readout.needs_all_heads] * (len(graph.exits) - 1)
    macs = CascadeCost.of_graph(graph).leaving(asked)
    exits = [
        {"exit": exit, "macs": round(macs[exit]), "accuracy": accuracy}
        for exit, accuracy in enumerate(history.accuracies)
    ]
    save_json(folder / NETWORK_FILE, network | {"exits": exits})
    return network | {"exits": exits}
