"""Show the front of a search.

It is made of the networks within the budget that no other beats in every objective.

Example:
  nas front runs/d
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from nas.cli.arguments import add_folder, add_json
from nas.cli.output import write_json, write_table
from nas.report.tables import trial_table

if TYPE_CHECKING:
    from nas.search import StudyRecord

__all__ = ["add_arguments", "execute", "show_front"]


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    add_json(parser)


def execute(arguments: Namespace) -> None:
    from nas.search import read_study

    show_front(read_study(arguments.folder), as_json=arguments.json)


def show_front(record: StudyRecord, *, as_json: bool) -> None:
    """Print the front of a study as it stands."""
    if as_json:
        write_json(record.front.to_json())
    else:
        write_table(trial_table(record.front.trials, record.settings.objectives))
