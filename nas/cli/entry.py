"""Reads the command line, runs the command, and turns what goes wrong into one sentence and an exit code."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType

from nas.errors import MissingExtraError, NasError

__all__ = ["load_commands", "main", "make_parser"]

EXTRAS: Mapping[str, str] = MappingProxyType(
    {"matplotlib": "report", "openvino": "openvino"}
    | dict.fromkeys(("fvcore", "onnx", "optuna", "pandas", "safetensors", "thop", "torch"), "search")
)
"""Which extra brings an optional package."""

CONTINUE = ("search", "train")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; argparse itself ends the process with code 2 where the command line is misused."""
    _replace_closed_streams()
    arguments = Namespace(command="", debug=False)
    try:
        commands = load_commands()
        make_parser(commands).parse_args(argv, arguments)
        if str(Path.cwd()) not in sys.path:  # the user's own spaces are found as with `python -m nas`
            sys.path.append(str(Path.cwd()))
        commands[arguments.command].execute(arguments)
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
        return 2 if isinstance(error, NasError) and isinstance(error, ValueError) else 1
    return 0


def load_commands() -> Mapping[str, ModuleType]:
    """The commands by name: modules whose docstring is the help; `add_arguments` and `execute` do the rest.

    They are imported here, and not with this module, so that an interruption meanwhile is answered as any.
    """
    from nas.cli import (
        agent,
        calibrate,
        cost,
        demo,
        eval,
        export,
        front,
        profile,
        report,
        run,
        search,
        simulate,
        train,
        verify,
    )

    modules = (
        cost,
        calibrate,
        profile,
        search,
        front,
        train,
        export,
        eval,
        verify,
        run,
        simulate,
        demo,
        report,
        agent,
    )
    return {module.__name__.rpartition(".")[2]: module for module in modules}


def make_parser(commands: Mapping[str, ModuleType]) -> ArgumentParser:
    parser = ArgumentParser(prog="nas", description="Search, train, export and run networks.")
    parser.add_argument("--debug", action="store_true", help="show where an error arose (or set NAS_DEBUG=1)")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in commands.items():
        text = module.__doc__ or ""
        command = choices.add_parser(
            name,
            help=text.partition("\n")[0].rstrip("."),
            description=text,
            formatter_class=RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser


def _replace_closed_streams() -> None:
    """Let standard streams that the caller closed lead nowhere; no file opened later may take their place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and error.name in EXTRAS:
        error = MissingExtraError.of(error.name, EXTRAS[error.name])
    if isinstance(error, NasError | OSError | ImportError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}; nas --debug shows where it arose"


def _complain(sentence: str) -> None:
    print("nas:", " ".join(sentence.split()), file=sys.stderr)
