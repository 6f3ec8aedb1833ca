"""Reads the command line, runs the command, and turns what goes wrong into one sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType

from nas.cli import cost, export, front, report, run, search, train
from nas.errors import (
    BudgetError,
    BundleError,
    DataError,
    MissingExtraError,
    NasError,
    SpaceError,
    StudyError,
)

__all__ = ["COMMANDS", "main", "make_parser"]

COMMANDS: Mapping[str, ModuleType] = MappingProxyType(
    {
        "cost": cost,
        "search": search,
        "front": front,
        "train": train,
        "export": export,
        "run": run,
        "report": report,
    }
)
"""A command is a module: its docstring is the help, `add_arguments` and `execute` do the rest."""

EXTRAS: Mapping[str, str] = MappingProxyType(
    {"matplotlib": "report"}
    | dict.fromkeys(("fvcore", "onnx", "optuna", "pandas", "safetensors", "thop", "torch"), "search")
)
"""Which extra brings an optional package."""

CONTINUE = ("search", "train")
MISUSE = (BudgetError, BundleError, DataError, SpaceError, StudyError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; argparse itself ends the process with code 2 where the command line is misused."""
    arguments = make_parser().parse_args(argv)
    if str(Path.cwd()) not in sys.path:  # the user's own spaces are found as with `python -m nas`
        sys.path.append(str(Path.cwd()))
    try:
        COMMANDS[arguments.command].execute(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has all that it wanted; what is left must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        remedy = "; the same command continues" if arguments.command in CONTINUE else ""
        _complain(f"interrupted{remedy}")
        return 130
    except Exception as error:
        if arguments.debug or os.environ.get("NAS_DEBUG"):
            raise
        _complain(_sentence(error))
        return 2 if isinstance(error, MISUSE) else 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nas", description="Search, train, export and run networks.")
    parser.add_argument("--debug", action="store_true", help="show where an error arose (or set NAS_DEBUG=1)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        text = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=text.partition("\n")[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and error.name in EXTRAS:
        error = MissingExtraError.of(error.name, EXTRAS[error.name])
    if isinstance(error, NasError | OSError | ImportError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}; nas --debug shows where it arose"


def _complain(sentence: str) -> None:
    print("nas:", " ".join(sentence.split()), file=sys.stderr)
