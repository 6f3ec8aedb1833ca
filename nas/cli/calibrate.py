"""Learn how fast a target runs the networks of a space, so that searches and profiles need not measure each.

Random networks are measured for some time, and the file holds what was learned: milliseconds of any network
of the space, with an interval. Where the file is there already, its networks are kept and more are added.
A target is local, tcp://HOST:PORT (where nas agent listens), ssh://USER@HOST or browser:chromium, with
options such as local,threads=2,precision=int8,engine=openvino.

Example:
  nas calibrate search_spaces.mobile:space --data digits --target local --out laptop.json
  nas calibrate search_spaces.mobile:space --data digits --target local --out laptop.json --check
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
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
    from nas.search import Interval
    from nas.space import Candidate, SearchSpace

__all__ = ["add_arguments", "execute", "measuring", "predicted_ms", "say_drift"]

SECONDS = 60
REPEATED_RATIO = 1.25  # by which a network measured in a hurry may come out otherwise
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
    parser.add_argument("--check", action="store_true", help="measure a few networks of the file again only")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.latency import Calibration, open_target
    from nas.latency.predictor import LEAST_NETWORKS

    space = load_search_space(arguments.space)
    space = space.at(*read_binding(arguments, space))
    target = open_target(arguments.target, tell=say)
    kept = Calibration.load(arguments.out) if arguments.check or arguments.out.exists() else None
    if kept:
        kept.check(space, target.identity)
    if arguments.check and kept:
        say_drift(kept, target, space)
        _show(kept, as_json=arguments.json)
        return
    if not arguments.out.absolute().parent.is_dir():
        raise TargetError(f"the folder of {arguments.out} must be there, but is not; make it first")
    measured = kept.measured if kept else ()
    try:
        steps = measuring(space, target, seconds=arguments.seconds, seed=arguments.seed, known=measured)
        for measured in steps:  # noqa: B007 - the last is what counts
            pass
    except (KeyboardInterrupt, TargetError) as error:
        if len(measured) < LEAST_NETWORKS:
            raise
        say(f"{str(error) or 'interrupted'}; learning from {len(measured)} networks")
    calibration = Calibration.of(space, target.identity, measured)
    calibration.save(arguments.out)
    _show(calibration, as_json=arguments.json)


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


def predicted_ms(calibration: Calibration) -> Callable[..., Interval]:
    """What a calibration tells a search of a candidate's latency."""
    from nas.search import Interval

    predictor = calibration.predictor
    known = {network.architecture.id: network.exits_ms for network in calibration.measured}

    def predict_ms(candidate: Candidate, exit: int | None = None) -> Interval:
        exits_ms = known.get(candidate.id)
        if exits_ms is None:
            ms, ratio = predictor(candidate.graph, exit), predictor.ratio(candidate.graph, exit)
        else:
            ms, ratio = exits_ms[-1 if exit is None else exit], REPEATED_RATIO
        if math.isinf(ms):  # a kind of layer that was never measured
            return Interval(0.0, ms, ms)
        return Interval(ms / ratio, ms, ms * ratio)

    return predict_ms


def say_drift(calibration: Calibration, target: Target, space: SearchSpace) -> None:
    """Measure some networks again, and say on stderr how times have changed."""
    ratio = calibration.drift(target, space)
    change = f"{abs(ratio - 1):.1%} {'slower' if ratio > 1 else 'faster'}"
    remedy = "; calibrate again" if abs(ratio - 1) > DRIFT_RATIO else ""
    say(f"{target.identity} runs {change} than when it was calibrated{remedy}")


def _show(calibration: Calibration, *, as_json: bool) -> None:
    predictor = calibration.predictor
    if as_json:
        write_json({"networks": len(calibration.measured), **predictor.to_json()})
        return
    errors = predictor.errors
    header = ("target", "networks", "mean error %", "within 10 %", "rank correlation", "interval")
    row = (
        calibration.target,
        errors.networks,
        100 * errors.mean_ratio,
        100 * errors.within_10_ratio,
        errors.spearman,
        f"/ and x {predictor.interval_ratio:.3f}",
    )
    write_table(Table.of(header, [row]))
