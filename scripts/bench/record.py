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
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from nas.files import whole_file
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
        """Append rows, all or none of them, so that an interrupted run continues behind them."""
        path, text = self.raw / file, io.StringIO()
        columns, kept = list(rows[0]), path.read_bytes().decode() if path.exists() else ""
        writer = csv.DictWriter(text, fieldnames=columns)
        if not kept:
            writer.writeheader()
        elif next(csv.reader([kept.splitlines()[0]])) != columns:
            raise RuntimeError(f"rows of {path} must have the columns {columns}; remove the file")
        writer.writerows(rows)
        with whole_file(path) as part:
            part.write_bytes((kept + text.getvalue()).encode())

    def keep(self, file: str, counts: Callable[[Row], bool]) -> None:
        """Forget all rows but those that count."""
        rows = self.rows(file)
        if not all(counts(row) for row in rows):
            (self.raw / file).unlink()
            kept = [row for row in rows if counts(row)]
            if kept:
                self.add(file, *kept)

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
