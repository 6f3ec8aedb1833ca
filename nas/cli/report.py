"""Write a page about a search and its bundle.

It is index.html, with plots as PNG files beside it.

Example:
  nas report runs/d
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from nas.bundle import Bundle
from nas.cli.arguments import add_folder
from nas.cli.job import Run
from nas.report import write_report

__all__ = ["add_arguments", "execute"]


def add_arguments(parser: ArgumentParser) -> None:
    add_folder(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write (default RUN/report)")
    parser.add_argument(
        "--bundle", type=Path, metavar="BUNDLE", help="what was exported (default RUN/bundle)"
    )


def execute(arguments: Namespace) -> None:
    run = Run.load(arguments.folder)
    path = arguments.bundle or run.bundle
    bundle = Bundle.load(path) if arguments.bundle or path.exists() else None
    print(write_report(arguments.out or run.folder / "report", run.record, bundle))
