"""The command `nas`: data on stdout, progress on stderr; exit code 0 done, 1 failed, 2 misused."""

from nas.cli.entry import main as main

__all__ = ["main"]
