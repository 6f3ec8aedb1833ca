"""Measure the levels of a bundle again, and fail if one breaks the budget that it was exported under.

The median decides; a level that is too slow is measured twice more, for what disturbs a machine passes.
Exit code 0 says that every latency budget is kept, 1 that one is broken. It needs only what a device has.

Example:
  nas verify runs/d/bundle
  nas verify bundle.zip --target tcp://phone:7000,threads=2
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from nas.bundle import Bundle
from nas.cli.arguments import add_json, positive
from nas.cli.output import say, write_json, write_table
from nas.cli.progress import LiveLine
from nas.report.tables import Table

if TYPE_CHECKING:
    from nas.latency.verification import VerifiedLevel

__all__ = ["add_arguments", "execute"]

DRIFT = 0.1  # of the median; measurements of one machine repeat within a few percent

COLUMNS = (
    "level",
    "model",
    "exit",
    "certified ms p50",
    "certified ms high",
    "ms p50",
    "ms low",
    "ms high",
    "ratio",
    "budget",
    "kept",
)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder or zip that nas export wrote")
    parser.add_argument("--target", default="local", metavar="SPEC", help="to measure on (default local)")
    parser.add_argument(
        "--seconds", type=positive, default=2, help="to measure each level for, at most (default 2)"
    )
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.latency.specs import open_target
    from nas.latency.verification import verify_levels

    bundle, target = Bundle.load(arguments.bundle), open_target(arguments.target, tell=say)
    with LiveLine() as line:
        levels = verify_levels(bundle, target, seconds=arguments.seconds, progress=line.show)
    if arguments.json:
        verified = [level.to_json() for level in levels]
        write_json({"bundle": str(arguments.bundle), "target": target.identity, "levels": verified})
    else:
        write_table(_table(levels))
    if note := _note(levels, target.identity):
        say(note)
    if breaches := [_breach(level) for level in levels if level.kept is False]:
        raise SystemExit(
            f"nas: levels must keep their budget, but {', '.join(breaches)}; leave them out here, or "
            "search again for this target"
        )


def _note(levels: Sequence[VerifiedLevel], target: str) -> str:
    """How measuring on this target differs from what is certified; nothing where it does not."""
    certified = {level.certified.latency.target for level in levels if level.certified.latency}
    ratio = median(level.ratio or 1 for level in levels)
    if certified - {target}:
        return f"certified on {min(certified)}, but measured on {target}: only the budget decides"
    if abs(ratio - 1) > DRIFT:
        compared = "slower" if ratio > 1 else "faster"
        return f"the machine is {compared} than when it was certified: levels take {ratio:.2f} times as long"
    return ""


def _breach(level: VerifiedLevel) -> str:
    assert level.limit
    found = level.limit.format(level.longest.p50_ms)
    where = f"level {level.number} ({level.certified.model}, exit {level.certified.exit})"
    return f"{where} takes {found} and not {level.limit}"


def _table(levels: Sequence[VerifiedLevel]) -> Table:
    rows = []
    for level in levels:
        certified, measured = level.certified.latency, level.measured
        rows.append(
            (
                level.number,
                level.certified.model,
                level.certified.exit,
                *((certified.p50_ms, certified.high_ms) if certified else (None, None)),
                *(measured.p50_ms, measured.low_ms, measured.high_ms),
                level.ratio,
                level.limit,
                None if level.kept is None else ("no", "yes")[level.kept],
            )
        )
    return Table.of(COLUMNS, rows)
