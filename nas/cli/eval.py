"""Tell how good the exits of exported networks are, on test images.

Of each exit its MACs, milliseconds, accuracy and how well it knows where it errs; and for some mean budgets,
whose thresholds are solved on validation images, what accuracy they buy and where images leave. The page has
the curves, which exit is right where another is wrong, and images that are easy and hard. Budgets are in MACs
or, with --target, in milliseconds measured on it now.

Example:
  nas eval runs/d
  nas eval runs/d --target local
  nas eval runs/d --model net7 --budgets 8 --json
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nas.bundle import Bundle, BundleModel
from nas.cascade import CascadeCost
from nas.cli.arguments import add_folder, add_json, natural, positive
from nas.cli.job import Run, load_search_space
from nas.cli.output import say, saying_warnings, write_json, write_table
from nas.data import Data
from nas.errors import BundleError, StudyError
from nas.space import Architecture

if TYPE_CHECKING:
    from nas.latency import Target

__all__ = ["add_arguments", "execute"]

BUDGETS, EXAMPLES = 6, 16


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument(
        "--bundle", type=Path, metavar="BUNDLE", help="what was exported (default RUN/bundle)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the page (default RUN/eval)")
    parser.add_argument("--target", metavar="SPEC", help="to measure on, such as local (default: count MACs)")
    parser.add_argument("--threads", type=positive, help="to measure with (default: as in the search)")
    parser.add_argument("--model", metavar="NAME", help="of the bundle (default: all with early exits)")
    parser.add_argument(
        "--budgets", type=positive, default=BUDGETS, help=f"solved for each network (default {BUDGETS})"
    )
    parser.add_argument(
        "--examples", type=natural, default=EXAMPLES, help=f"easy and hard images (default {EXAMPLES} each)"
    )
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.latency.ways import WayTimes
    from nas.report import budget_table, evaluate_exits, exit_report_table, write_exit_report
    from nas.runtime import Runtime

    run = Run.load(arguments.folder)
    bundle, data = Bundle.load(arguments.bundle or run.bundle), run.data()
    _check_data(bundle, data)
    runtime = Runtime(bundle)
    chosen = _chosen(bundle, arguments.model)
    macs = [_costs(model, run.record.settings.space) for model in chosen]
    target = _target(arguments, run)
    times = [WayTimes(target, bundle, model.name).costs() if target else None for model in chosen]
    with saying_warnings():
        reports = [
            evaluate_exits(
                runtime,
                model.name,
                counted,
                data,
                budgets=arguments.budgets,
                examples=arguments.examples,
                times=timed,
                target=target.identity if target else None,
            )
            for model, counted, timed in zip(chosen, macs, times, strict=True)
        ]
    page = write_exit_report(arguments.out or run.folder / "eval", reports, data=data.name)
    say(f"the page is {page}")
    if arguments.json:
        write_json({"models": [report.to_json() for report in reports]})
    else:
        write_table(exit_report_table(reports))
        write_table(budget_table(reports))


def _target(arguments: Namespace, run: Run) -> Target | None:
    from nas.latency import open_target

    if arguments.target is None:
        if arguments.threads:
            raise StudyError("threads must be those of a target, but there is none; give --target too")
        return None
    if "precision=int8" in arguments.target.split(","):
        raise StudyError(
            f"exits must be timed as they ship, but got {arguments.target!r}; leave out precision=int8"
        )
    return open_target(arguments.target, threads=arguments.threads or run.job.threads, tell=say)


def _check_data(bundle: Bundle, data: Data) -> None:
    """Other images may be among those that the networks were trained on."""
    known = bundle.provenance.get("data")
    if isinstance(known, Mapping) and known.get("hash") != data.hash:
        raise BundleError(
            f"exits must be told of by images of the data they were trained on, {known.get('name')!r}, but "
            f"the run has other ones, of {data.name!r}; give the run of this bundle"
        )


def _chosen(bundle: Bundle, name: str | None) -> list[BundleModel]:
    """The models with early exits, or the one of this name."""
    models = [model for model in bundle.models if model.exits > 1 and name in (None, model.name)]
    if not models:
        known = ", ".join(f"{model.name} ({model.exits})" for model in bundle.models)
        wanted = f"{name!r} to have" if name else "some network to have"
        raise BundleError(
            f"exits are compared, which needs {wanted} 2 or more in this bundle, but it has {known}; "
            "choose another, or search with a budget at an exit, such as macs@1<=2M"
        )
    return models


def _costs(model: BundleModel, space: str) -> CascadeCost:
    """MACs of the network that the bundle says the model is, which must be of the run's space."""
    if not model.architecture:
        raise BundleError(
            f"a model must say its architecture to be counted, but {model.name!r} does not; "
            "export it with nas export, or give architectures to export()"
        )
    architecture = Architecture.from_json(model.architecture)
    graph = load_search_space(space).graph(architecture)
    if graph.id != model.id:
        raise BundleError(
            f"a model must be the network that {space} builds of its choices, but {model.name!r} is not: the "
            "space has changed since; export it again"
        )
    return CascadeCost.of_graph(graph)
