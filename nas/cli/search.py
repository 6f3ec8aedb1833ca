"""Search for the best networks of a space within a budget.

All is kept in a folder. A folder that holds a search is continued; its settings need not be given again. A
budget names quantity, exit (@k, the last if none) and unit: macs, flops, params, latency, memory, size,
energy.
Latency is that of one image on the target: this machine, or another on which nas agent runs. It is
predicted from a calibration, a short one made at the start unless one is given, and measured where that
leaves doubt. Energy is what --energy declares, so much for each inference and so much while it lasts.

Example:
  nas search search_spaces.mobile:space --data digits --budget "macs<=2M, latency<=0.3ms" --out runs/d
  nas search search_spaces.mobile:space --out runs/d --trials 80
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import Budget
from nas.cli.arguments import (
    add_energy,
    add_json,
    natural,
    objective,
    positive,
    read_budget,
    several,
    whole_numbers,
)
from nas.cli.calibrate import say_drift
from nas.cli.clock import Clock, measuring_by
from nas.cli.front import show_front
from nas.cli.job import Job, Run, load_search_space
from nas.cli.output import say
from nas.cli.progress import LiveLine
from nas.data import Data, load_data
from nas.errors import StudyError, TrainingError
from nas.metric import METRICS

if TYPE_CHECKING:
    from nas.search import Study, StudyRecord, Trial
    from nas.search.study import Evaluate

__all__ = ["add_arguments", "execute"]

HOW = {"epochs": 3, "images": None, "threads": 1, "target": "local", "energy": "", "anytime": ""}
"""How a new search trains, unless told otherwise; its job keeps it."""
SOUGHT = {"budget": "", "objectives": (), "sampler": "known-cost", "seed": 0, "rungs": None}
"""What it is after; its study keeps it. Objectives follow from the budget, or from the range of costs."""
CALIBRATION_S = 30


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", help="search space, as module:attribute")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the search")
    _add_sought(parser)
    _add_training(parser)
    _add_measuring(parser)
    add_json(parser)


def _add_sought(parser: ArgumentParser) -> None:
    """What the search is after."""
    parser.add_argument("--budget", help='such as "macs<=2M, latency<=0.3ms" (default none)')
    parser.add_argument("--trials", type=positive, default=40, help="networks trained in all (default 40)")
    parser.add_argument(
        "--sampler",
        help="known-cost, local, evolution, random, tpe, nsga2 or gp (default known-cost)",
    )
    parser.add_argument(
        "--objective",
        dest="objectives",
        action="append",
        type=objective,
        metavar="DIRECTION:METRIC",
        help="such as maximize:accuracy or minimize:latency_ms, once each "
        "(default: accuracy, and latency_ms if the budget limits it, else macs)",
    )
    parser.add_argument(
        "--anytime",
        metavar="COSTS",
        help='costs between which networks may be stopped, such as "latency 0.05ms..0.5ms": what is '
        "sought then is one network whose exits are most accurate on average over them",
    )
    parser.add_argument("--seed", type=natural, help="what everything is drawn by (default 0)")


def _add_measuring(parser: ArgumentParser) -> None:
    """How latency and energy are known."""
    parser.add_argument("--target", help="where latency is measured, such as tcp://pi:7000 (default local)")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="of nas calibrate, for this target")
    parser.add_argument(
        "--calibrate",
        type=positive,
        default=CALIBRATION_S,
        metavar="SECONDS",
        help=f"to calibrate for where there is no calibration yet (default {CALIBRATION_S})",
    )
    add_energy(parser)


def _add_training(parser: ArgumentParser) -> None:
    """How, and where, networks are trained."""
    parser.add_argument("--data", help="digits, fashion-mnist[:FOLDER], npz:FILE or folder:FOLDER")
    parser.add_argument("--epochs", type=positive, help="of each network's training (default 3)")
    parser.add_argument("--images", type=several, help="training images used per epoch (default all)")
    parser.add_argument("--threads", type=positive, help="to train and to measure with (default 1)")
    parser.add_argument(
        "--rungs",
        type=whole_numbers,
        metavar="EPOCHS",
        help="train in steps, of which a third goes on to the next, such as 1,3,9 (default all at once)",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="train on the machines of a Ray cluster, or on all processors of this one",
    )


def execute(arguments: Namespace) -> None:
    from nas.search import Study

    run = Run.find(arguments.out)
    given = _given(arguments, run.job.energy if run else "")
    if run:
        run.job.check(given, run.folder)
        job, data = run.job, run.data()
        sought = {name: getattr(run.record.settings, name) for name in SOUGHT} | given
    else:
        sought = _new_sought(given)
        data = _new_data(given, sought["seed"])
        job = Job(
            **HOW | {name: given[name] for name in (*HOW, "data") if name in given}, data_hash=data.hash
        )
    space = load_search_space(arguments.space).at(data.input_shape, data.num_classes)
    clock = Clock.of(arguments, job, space) if _is_timed(sought, job) else None
    study = Study(
        space,
        arguments.out,
        evaluate=_evaluation(job, data, clock),
        costs={"latency_ms": clock.calibration} if clock else {},
        measure=measuring_by(clock, job, on_cluster=arguments.ray is not None) if clock else None,
        manifest={"data_hash": job.data_hash, "target": clock.calibration.target if clock else None},
        **{name: sought[name] for name in SOUGHT},
    )
    here = arguments.ray is None
    if clock and here and not clock.is_fresh and study.record.evaluated < arguments.trials:
        say_drift(clock.calibration, clock.target, space)
    _search(study, arguments, job, clock)
    _check_trained(study.record)
    say(f"{study.record.evaluated} networks trained, {_summary(study.record)}")
    if study.exhausted:
        say("no other network within the budget was found")
    show_front(study.record, as_json=arguments.json)


def _search(study: Study, arguments: Namespace, job: Job, clock: Clock | None) -> None:
    """Search here, or on a cluster, and keep what later commands need once there is a trial."""
    with LiveLine() as line:
        line.count(study.record.evaluated, arguments.trials, "looking for networks within the budget")

        def keep(trial: Trial) -> None:
            job.save(arguments.out)  # not earlier: a budget that cannot be met leaves nothing behind
            if clock:
                clock.save(arguments.out)
            line.count(study.record.evaluated, arguments.trials, _summary(study.record))

        if arguments.ray is None:
            for trial in study.run(trials=arguments.trials):
                keep(trial)
            return
        from nas.search.cluster import run_on_ray

        address = arguments.ray or None
        run_on_ray(study, trials=arguments.trials, address=address, cpus=job.threads, on_trial=keep)


def _given(arguments: Namespace, energy: str) -> dict[str, Any]:
    """The settings on the command line, those left out not among them; `energy` is that of the job."""
    from nas.latency import DeclaredEnergy
    from nas.latency.specs import absolute_spec
    from nas.search import CostRange, Rungs
    from nas.search.objective import objective_from_json

    readers: dict[str, Callable[[Any], Any]] = {
        "objectives": lambda texts: tuple(objective_from_json(dict([text.split(":")])) for text in texts),
        "target": absolute_spec,
        "energy": lambda text: str(DeclaredEnergy.parse(text)),
        "data": _absolute,
        "anytime": lambda text: str(CostRange.parse(text)),
        "rungs": Rungs,
    }
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    given |= {name: read(given[name]) for name, read in readers.items() if name in given}
    if "budget" in given:
        given["budget"] = str(read_budget(given["budget"], given.get("energy") or energy))
    if "rungs" in given:
        last = given["rungs"].epochs[-1]
        if given.setdefault("epochs", last) != last:
            raise StudyError(
                f"the last rung must be the whole training, but --rungs ends with {last} and --epochs is "
                f"{given['epochs']}; leave out --epochs"
            )
    return given


def _absolute(spec: str) -> str:
    """The same data wherever the commands that follow are called."""
    kind, colon, place = spec.partition(":")
    return f"{kind}:{Path(place).expanduser().absolute()}" if colon and place else spec


def _new_sought(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a new search is after."""
    from nas.search import Maximize, Minimize
    from nas.search.anytime import ANYTIME

    budget = Budget.parse(given.get("budget", ""))
    cost = "latency_ms" if any(limit.metric == "latency_ms" for limit in budget.limits) else "macs"
    objectives = (Maximize("accuracy"), Minimize(cost))
    sought: dict[str, Any] = {
        **SOUGHT,
        "objectives": (Maximize(ANYTIME),) if given.get("anytime") else objectives,
    }
    sought |= {name: given[name] for name in SOUGHT if name in given}
    metrics = [objective.metric for objective in sought["objectives"]]
    if (ANYTIME in metrics) != bool(given.get("anytime")):
        rule = f"{ANYTIME} must be an objective with --anytime, and only then"
        raise StudyError(f"{rule}, but one stands without the other; give both")
    return sought


def _new_data(given: Mapping[str, Any], seed: int) -> Data:
    if "data" not in given:
        raise StudyError("a new search must be told its data, but got none; give --data, such as digits")
    return load_data(given["data"], seed)


def _is_timed(sought: Mapping[str, Any], job: Job) -> bool:
    """Whether the search must know how long networks run."""
    limited = [limit.metric for limit in Budget.parse(sought["budget"]).limits]
    wanted = [objective.metric for objective in sought["objectives"]]
    return any(metric.startswith("latency_ms") for metric in [*limited, *wanted, job.anytime_metric])


def _evaluation(job: Job, data: Data, clock: Clock | None) -> Evaluate:
    from nas.search import AnytimeEvaluation, CostRange
    from nas.train import SHORT_CONFIG, ShortTraining

    config = replace(SHORT_CONFIG, threads=job.threads, images=job.images)
    training = ShortTraining(data, job.epochs, config)
    if not job.anytime:
        return training
    costs = CostRange.parse(job.anytime)
    timed = clock.calibration if clock and costs.metric == "latency_ms" else None
    if timed is None and not METRICS[costs.metric].counted:
        raise StudyError(
            f"a range of costs must be of latency or of what is counted, but is of {costs.metric}; give "
            "milliseconds, of which energy is a function"
        )
    return AnytimeEvaluation(training, costs, timed)


def _check_trained(record: StudyRecord) -> None:
    """`TrainingError` where a search has nothing to show."""
    if any(trial.state == "complete" for trial in record.trials):
        return
    partial = sum(trial.state == "partial" for trial in record.trials)
    if partial:
        found = f"none of {record.evaluated} networks came to the last rung yet; ask for more --trials"
    elif not record.evaluated:
        found = f"none of {len(record.trials)} proposed was within the budget; widen it"
    else:
        reason = [trial.reason for trial in record.trials if trial.state == "failed"][-1]
        found = f"all {record.evaluated} trainings failed, the last because {reason}"
    raise TrainingError(f"a search must train a network, but {found}")


def _summary(record: StudyRecord) -> str:
    from nas.search import hypervolume_share

    rejected = sum(trial.state == "infeasible" for trial in record.trials)
    found = [trial.values["accuracy"] for trial in record.trials if trial.state == "complete"]
    failures = [trial.reason for trial in record.trials if trial.state == "failed"]
    best = f", hypervolume {hypervolume_share(record):.3f}, best accuracy {max(found):.4f}" if found else ""
    failed = f", {len(failures)} failed, the last because {failures[-1]}" if failures else ""
    causes = ", ".join(f"{key} {count}" for key, count in record.rejections.most_common())
    told = f" ({causes})" if causes else ""
    return f"{rejected} rejected before training{told}{best}{failed}"
