"""Learn how fast a target runs the networks of a space, so that searches and profiles need not measure each.

Random networks are measured for some time, and the file holds what was learned: milliseconds of any network
of the space, with an interval. Where the file is there already, its networks are kept and more are added.
A target is local, tcp://HOST:PORT (where nas agent listens), ssh://USER@HOST or browser:chromium, with
options such as local,threads=2,precision=int8,engine=openvino. With --check, exit code 1 says that its
networks run more than 5 % slower or faster than they did.

Example:
  nas calibrate search_spaces.mobile:space --data digits --target local --out laptop.json
  nas calibrate search_spaces.mobile:space --data digits --target local --out laptop.json --check
  nas calibrate search_spaces.mobile:space --target tcp://phone:7000 --known laptop.json --out phone.json
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from nas.cli.arguments import add_binding, add_json, natural, positive, read_binding
from nas.cli.job import load_search_space
from nas.cli.output import say, write_json, write_table
from nas.cli.progress import LiveLine, duration
from nas.errors import TargetError
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.latency import Calibration, Measured, Target
    from nas.space import SearchSpace

__all__ = ["add_arguments", "execute", "measuring", "say_drift"]

SECONDS = 60
DRIFT_RATIO = 0.05  # beyond which predictions are no longer what they were


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", help="search space, as module:attribute")
    add_binding(parser)
    parser.add_argument("--target", default="local", help="what is measured (default local, one thread)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where it is kept")
    parser.add_argument(
        "--seconds", type=positive, default=SECONDS, help=f"to measure for (default {SECONDS})"
    )
    parser.add_argument("--seed", type=natural, default=0, help="what networks are drawn by (default 0)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--known",
        type=Path,
        metavar="FILE",
        help="calibration of the space on another target, with which few networks are enough",
    )
    other.add_argument("--check", action="store_true", help="only measure a few networks of the file again")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.latency import Calibration, open_target

    space = load_search_space(arguments.space)
    space = space.at(*read_binding(arguments, space))
    target = open_target(arguments.target, tell=say)
    kept = Calibration.load(arguments.out) if arguments.check or arguments.out.exists() else None
    if kept:
        kept.check(space, target.identity)
    if arguments.check and kept:
        ratio = say_drift(kept, target, space)
        _show(kept, as_json=arguments.json, drift_ratio=ratio)
        if _has_drifted(ratio):
            raise SystemExit(1)
        return
    if not arguments.out.absolute().parent.is_dir():
        raise TargetError(f"the folder of {arguments.out} must be there, but is not; make it first")
    other = _known(arguments, space, target)
    seed = arguments.seed + (len(other.measured) if other else 0)  # other networks than it has learned from
    measured = _measured(arguments, space, target, kept.measured if kept else (), seed=seed)
    calibration = Calibration.of(space, target.identity, measured, other)
    calibration.save(arguments.out)
    _show(calibration, as_json=arguments.json)


def _known(arguments: Namespace, space: SearchSpace, target: Target) -> Calibration | None:
    """The calibration of another target, if one is given."""
    from nas.latency import Calibration

    if not arguments.known:
        return None
    known = Calibration.load(arguments.known)
    known.check(space)
    if known.target == target.identity:
        raise TargetError(
            f"--known must be of another target, but {arguments.known} is of {known.target} too; "
            "give it as --out"
        )
    return known


def _measured(
    arguments: Namespace, space: SearchSpace, target: Target, measured: tuple[Measured, ...], *, seed: int
) -> tuple[Measured, ...]:
    """More networks than before: as many as there is time for, or until the target fails."""
    from nas.latency.prediction import LEAST_NETWORKS

    try:
        steps = measuring(space, target, seconds=arguments.seconds, seed=seed, known=measured)
        for measured in steps:  # noqa: B007 - the last is what counts
            pass
    except (KeyboardInterrupt, TargetError) as error:
        if len(measured) < LEAST_NETWORKS:
            raise
        say(f"{str(error) or 'interrupted'}; learning from {len(measured)} networks")
    return measured


def measuring(
    space: SearchSpace, target: Target, *, seconds: float, seed: int = 0, known: tuple[Measured, ...] = ()
) -> Iterator[tuple[Measured, ...]]:
    """What `nas.latency.calibrate` measures, with a live line."""
    from nas.latency import calibrate

    begin = monotonic()
    with LiveLine() as line:
        line.show(f"calibrating {target.identity}")
        for measured in calibrate(space, target, seconds=seconds, seed=seed + len(known), known=known):
            spent = f"{duration(monotonic() - begin)} of {duration(seconds)}"
            line.show(f"calibrating {target.identity}: {len(measured)} networks, {spent}")
            yield measured


def say_drift(calibration: Calibration, target: Target, space: SearchSpace) -> float:
    """Measure some networks again, say on stderr how times have changed, and give the ratio."""
    ratio = calibration.drift(target, space)
    change = f"{abs(ratio - 1):.1%} {'slower' if ratio > 1 else 'faster'}"
    remedy = "; calibrate again" if _has_drifted(ratio) else ""
    say(f"{target.identity} runs {change} than when it was calibrated{remedy}")
    return ratio


def _has_drifted(ratio: float) -> bool:
    return abs(ratio - 1) > DRIFT_RATIO


def _show(calibration: Calibration, *, as_json: bool, drift_ratio: float | None = None) -> None:
    predictor = calibration.predictor
    if as_json:
        drift = {} if drift_ratio is None else {"drift_ratio": drift_ratio}
        write_json({"networks": len(calibration.measured), **drift, **predictor.to_json()})
        return
    errors = predictor.errors
    header = ("target", "networks", "mean error %", "within 10 %", "rank correlation", "interval")
    row = (
        calibration.target,
        errors.networks,
        100 * errors.mean_ratio,
        100 * errors.within_10_ratio,
        errors.spearman,
        f"/ and x {predictor.intervals.last_ratio:.3f}",
    )
    write_table(Table.of(header, [row]))
