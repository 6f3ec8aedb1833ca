"""Export the networks that were trained last as one bundle.

It is checked and measured in the runtime that ships. Its levels are the exits that no other beats in
milliseconds and validation accuracy; with --cascades also such at which an image leaves where an exit is
sure of it, with thresholds solved from mean budgets, or from one's own with --cascade-budget. A device needs
only numpy and onnxruntime to run it.

The milliseconds are held against the budget of the search; a level that breaks it is told on stderr.

Example:
  nas export runs/d
  nas export runs/d --out phone --torch --cascades 4
  nas export runs/d --cascade-budget "latency<=0.2ms" --readout confidence=margin
  nas export runs/d --target tcp://phone:7000,threads=2
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.budget import Budget
from nas.bundle import Bundle, Readout
from nas.bundle.readout import COMBINATIONS, CONFIDENCES
from nas.cli.arguments import add_energy, add_folder, add_json, natural, positive, read_settings, shares
from nas.cli.job import NETWORK_FILE, SELECTION_FILE, WEIGHTS_FILE, Run, read_file
from nas.cli.output import say, saying_warnings, write_json, write_table
from nas.cli.progress import LiveLine
from nas.errors import StudyError
from nas.report.tables import level_table
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.export import ExportConfig
    from nas.model import Model

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to write (default RUN/bundle)")
    parser.add_argument("--target", metavar="SPEC", help="to measure on (default: as in the search)")
    parser.add_argument("--threads", type=positive, help="to measure with (default: as in the search)")
    add_energy(parser)
    parser.add_argument("--torch", action="store_true", help="add the weights as safetensors")
    _add_cascades(parser)
    parser.add_argument(
        "--int8", action="store_true", help="add each network in int8 where its last exit is faster so"
    )
    parser.add_argument(
        "--governor", type=Path, metavar="JSON", help="how a device is to choose among the levels"
    )
    parser.add_argument(
        "--no-fused", action="store_true", help="leave out the files that hold all exits of a network"
    )
    add_json(parser)


def _add_cascades(parser: ArgumentParser) -> None:
    """How exits answer, and levels at which an image leaves where one is sure of it."""
    parser.add_argument(
        "--cascades",
        type=natural,
        default=0,
        metavar="N",
        help="levels of each network at which an image leaves where an exit is sure of it (default 0)",
    )
    parser.add_argument(
        "--cascade-budget",
        action="append",
        default=[],
        metavar="BUDGET",
        help='such a level for this mean budget, such as "latency<=0.2ms"; may be given again',
    )
    parser.add_argument(
        "--readout",
        type=_readout,
        default={},
        metavar="NAME=VALUE,…",
        help=f"how exits answer: combine ({', '.join(COMBINATIONS)}; default as trained) and confidence "
        f"({', '.join(CONFIDENCES)})",
    )
    parser.add_argument(
        "--class-shares",
        type=shares,
        metavar="SHARE,…",
        help="of each class on the device, for which accuracy is told and thresholds are solved (default: as "
        "in the images)",
    )


def _readout(text: str) -> dict[str, str]:
    """Settings of a read-out, as in `combine=mean,confidence=margin`."""
    found = read_settings(text, {"combine": str, "confidence": str})
    try:
        Readout(**found)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return found


def execute(arguments: Namespace) -> None:
    from nas.export import export
    from nas.latency import DeclaredEnergy, open_target
    from nas.train.threads import torch_threads

    run = Run.load(arguments.folder)
    spec = arguments.target or run.job.target
    if "precision=int8" in spec.split(","):
        raise StudyError(
            f"a bundle must be certified as it ships, in float32, but got {spec!r}; leave out precision=int8"
        )
    threads = arguments.threads or run.job.threads
    models, architectures, readouts = _trained(run)
    budget = Budget.parse(run.record.settings.budget)
    energy = arguments.energy or run.job.energy
    with LiveLine() as line, torch_threads(threads), saying_warnings():
        bundle = export(
            models,
            arguments.out or run.bundle,
            data=run.data(),
            target=open_target(spec, threads=threads, tell=say),
            budget=budget,
            energy=DeclaredEnergy.parse(energy) if energy else None,
            architectures=architectures,
            provenance={"search": run.record.settings.to_json()},
            config=_config(arguments, readouts),
            progress=line.show,
        )
    if arguments.json:
        write_json({"bundle": str(bundle.path), "levels": [level.to_json() for level in bundle.levels]})
    else:
        write_table(level_table(bundle.levels))
    for breach in _breaches(bundle, budget):
        say(breach)


def _config(arguments: Namespace, readouts: Mapping[str, Readout]) -> ExportConfig:
    from nas.export import ExportConfig

    return ExportConfig(
        fused=not arguments.no_fused,
        int8=arguments.int8,
        torch_weights=arguments.torch,
        cascades=arguments.cascades,
        cascade_budgets=tuple(arguments.cascade_budget),
        class_shares=arguments.class_shares,
        readouts={name: replace(readout, **arguments.readout) for name, readout in readouts.items()},
        governor=read_file(arguments.governor) if arguments.governor else {},
    )


def _breaches(bundle: Bundle, budget: Budget) -> Iterator[str]:
    """A sentence about each level that is not certain to keep the budget."""
    from nas.latency.verification import latency_limit

    for number, level in enumerate(bundle.levels):
        limit = latency_limit(budget, level.exit, bundle.model(level.model).exits)
        if limit and level.latency and not level.keeps_budget:
            upper = f"its upper bound is {limit.format(level.latency.upper_ms)}"
            if level.thresholds:
                upper = "that of an image that leaves last is above it"
            yield f"level {number} ({level.model}, exit {level.exit}): {limit} must hold, but {upper}"


def _trained(run: Run) -> tuple[dict[str, Model], dict[str, Architecture], dict[str, Readout]]:
    """The networks that the last nas train was asked for, what they are and how they answer, by name."""
    from nas.model import Model
    from nas.train import TrainConfig

    names = read_file(run.models / SELECTION_FILE).get("networks")
    if not isinstance(names, list) or not names:
        raise StudyError(
            f"a bundle must have trained networks, but {run.models} has none; nas train them first"
        )
    models, architectures, readouts = {}, {}, {}
    for name in map(str, names):
        network, weights = read_file(run.models / name / NETWORK_FILE), run.models / name / WEIGHTS_FILE
        if not {"architecture", "config", "exits"} <= network.keys() or not weights.exists():
            raise StudyError(
                f"a network must be trained to its end, but {name} in {run.models} is not; nas train again"
            )
        architectures[name] = Architecture.from_json(network["architecture"])
        models[name] = Model.load(weights)
        readouts[name] = TrainConfig.from_json(network["config"]).readout
    return models, architectures, readouts
