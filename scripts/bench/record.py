"""Where benchmarks keep what they found: raw rows that survive interruption, headline figures, a README."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from nas.latency import LocalTarget

ROOT = Path(__file__).parents[2]


Row = dict[str, str]


@final
class Record:
    """The folder `results/NAME` of one benchmark. With `--quick` raw rows go to a folder that git ignores."""

    def __init__(self, name: str, purpose: str, argv: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(prog=f"scripts/bench/{name}", description=purpose)
        parser.add_argument("--quick", action="store_true", help="under 3 minutes; writes quick.json only")
        self.name, self.purpose = name, purpose
        self.quick: bool = parser.parse_args(argv).quick
        self.folder = ROOT / "results" / name
        self.raw = self.folder / ".quick" if self.quick else self.folder
        if self.quick:
            shutil.rmtree(self.raw, ignore_errors=True)
        self.raw.mkdir(parents=True, exist_ok=True)

    def rows(self, file: str) -> list[Row]:
        """Rows kept so far; a quick run begins with none."""
        path = self.raw / file
        if not path.exists():
            return []
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def add(self, file: str, *rows: Mapping[str, Any]) -> None:
        """Append rows at once, so that an interrupted run continues behind them."""
        path, text = self.raw / file, io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        if not path.exists():
            writer.writeheader()
        writer.writerows(rows)
        with path.open("a", newline="") as stream:
            stream.write(text.getvalue())

    def finish(self, headline: Mapping[str, Any], notes: str = "") -> None:
        """Write the headline figures and, in a full run, the README; print the figures as the last line."""
        finite = {name: None if value in (math.inf, -math.inf) else value for name, value in headline.items()}
        text = json.dumps(finite, allow_nan=False)
        (self.folder / ("quick.json" if self.quick else "summary.json")).write_text(text + "\n")
        if not self.quick:
            (self.folder / "README.md").write_text(self._readme(headline, notes))
        print(text)

    def _readme(self, headline: Mapping[str, Any], notes: str) -> str:
        rows = "\n".join(f"| {name} | {value} |" for name, value in headline.items())
        return (
            f"    scripts/bench/{self.name}\n\n{self.purpose}\n\n| figure | value |\n| --- | --: "
            f"|\n{rows}\n\n"
            f"{notes.strip()}\n\n{date.today()}, {machine()}\n"
        )


def machine() -> str:
    """One line that says on what the figures were measured."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "optuna", "numpy"))
    return f"{LocalTarget().identity}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"
