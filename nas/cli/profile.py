"""Tell before any training whether a budget can be met, and what share of a space fits it.

Random networks show how costs are spread and what share keeps each limit; descents find the tightest values
within reach. A limit on latency needs a calibration of the space; networks whose predicted interval
straddles it are in doubt. Exit code 0 says that the budget can be met, 1 that no network was found that
does.

Example:
  nas profile search_spaces.mobile:space --budget "macs<=20M, memory<=64KiB"
  nas profile search_spaces.tiny:space --data digits --calibration pi.json --budget "latency<=1ms"
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import Budget
from nas.cli.arguments import add_binding, add_energy, add_json, natural, positive, read_binding, read_budget
from nas.cli.job import load_search_space
from nas.cli.output import write_json, write_table
from nas.cli.progress import LiveLine
from nas.errors import BudgetError, TargetError
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.interval import Interval
    from nas.latency import Calibration
    from nas.search.profile import Profile, Share
    from nas.space import Candidate, SearchSpace

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("space", metavar="SPACE", help="search space, as module:attribute")
    parser.add_argument("--budget", default="", help='such as "macs<=2M, latency<=0.3ms" (default none)')
    add_binding(parser)
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="of nas calibrate, to predict latency"
    )
    add_energy(parser)
    parser.add_argument(
        "--networks", type=positive, default=2000, metavar="N", help="networks drawn (default 2000)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="what they are drawn by (default 0)")
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.search.profile import profile_space

    budget = read_budget(arguments.budget, arguments.energy)
    calibration = _calibration(arguments, budget)
    space = _space(arguments, calibration)
    costs = {"latency_ms": _known_ms(calibration)} if calibration else {}
    with LiveLine() as line:
        profile = profile_space(
            space, budget, costs=costs, networks=arguments.networks, seed=arguments.seed, tell=line.show
        )
    if arguments.json:
        write_json(_to_json(profile))
    else:
        _write_tables(profile)
    if not profile.reachable:
        raise SystemExit(1)


def _calibration(arguments: Namespace, budget: Budget) -> Calibration | None:
    timed = [limit for limit in budget.limits if limit.metric == "latency_ms"]
    if timed and not arguments.calibration:
        raise BudgetError(
            f"a limit on latency must have a calibration to predict it by, but {timed[0]} has none; "
            "make one by nas calibrate, and give --calibration FILE"
        )
    if not arguments.calibration:
        return None
    from nas.latency import Calibration

    return Calibration.load(arguments.calibration)


def _space(arguments: Namespace, calibration: Calibration | None) -> SearchSpace:
    """The space at the shape and classes asked for, which must be those of the calibration."""
    space = load_search_space(arguments.space)
    space = space.at(*read_binding(arguments, calibration or space))
    if calibration:
        calibration.check(space)
    return space


def _known_ms(calibration: Calibration) -> Callable[..., Interval]:
    """What the calibration predicts, with a `TargetError` where it knows too little."""

    def known_ms(candidate: Candidate, exit: int | None = None) -> Interval:
        interval = calibration(candidate, exit)
        if math.isinf(interval.high) and math.isinf(calibration.predictor(candidate.graph, exit)):
            raise TargetError(
                f"a calibration must have seen every kind of layer, but not all of {candidate.id}; "
                "calibrate longer"
            )
        return interval

    return known_ms


def _write_tables(profile: Profile) -> None:
    rows = [
        (key, spread.smallest, spread.median, spread.largest, spread.tightest)
        for key, spread in profile.spreads.items()
    ]
    print(f"{profile.together.networks:,} random networks")
    write_table(Table.of(("metric", "smallest", "median", "largest", "tightest found"), rows))
    if not profile.budget.limits:
        return
    print()
    write_table(_limit_table(profile))
    print(f"\n{profile.answer}")


def _limit_table(profile: Profile) -> Table:
    rows: list[tuple[object, ...]] = []
    for limit, share in zip(profile.budget.limits, profile.alone, strict=True):
        tightest = profile.spreads[limit.key].tightest
        found = None if tightest is None else limit.format(tightest)
        rows.append((limit, *_share_cells(share), found, _verdict(reached=profile.reaches(limit))))
    if len(rows) > 1:
        rows.append(("all", *_share_cells(profile.together), None, _verdict(reached=profile.reachable)))
    header = ("limit", "share that fits", "95 % interval", "in doubt", "tightest found", "verdict")
    return Table.of(header, rows)


def _share_cells(share: Share) -> tuple[str, str, int]:
    low, high = share.interval
    return f"{share.ratio:.2%}", f"{low:.2%} to {high:.2%}", share.in_doubt


def _verdict(*, reached: bool) -> str:
    return "can be met" if reached else "cannot be met"


def _to_json(profile: Profile) -> dict[str, Any]:
    closest = profile.closest
    limits = [
        {
            "limit": str(limit),
            "key": limit.key,
            "bound": limit.bound,
            **_share_json(share),
            "tightest": profile.spreads[limit.key].tightest,
            "reachable": profile.reaches(limit),
        }
        for limit, share in zip(profile.budget.limits, profile.alone, strict=True)
    ]
    return {
        "spread": {key: vars(spread) for key, spread in profile.spreads.items()},
        "limits": limits,
        "together": _share_json(profile.together),
        "reachable": profile.reachable,
        "answer": profile.answer,
        "closest": {
            "architecture": closest.architecture.to_json(),
            "values": {key: cost.value for key, cost in closest.costs.items()},
        },
    }


def _share_json(share: Share) -> dict[str, float]:
    low, high = share.interval
    return {
        "networks": share.networks,
        "fitting": share.fitting,
        "in_doubt": share.in_doubt,
        "share_ratio": share.ratio,
        "share_low_ratio": low,
        "share_high_ratio": high,
    }
