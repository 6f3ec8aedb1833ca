"""The main job on Fashion-MNIST with the commands of the README: search, train, export, run, report."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import ROOT, Record

SPACE = "search_spaces.mixed:space"
# Per exit, so that every network of the front has at least three exits and the first one is cheap.
BUDGET = "macs<=10M, macs@0<=2M, macs@2<=10M"
TRACE = ROOT / "scripts" / "drain.csv"


def commands(run: Path, quick: bool) -> list[list[str]]:
    trials, images, epochs, top = ("4", "1280", "1", "1") if quick else ("24", "16384", "10", "2")
    search = ["search", SPACE, "--data", "fashion-mnist", "--budget", BUDGET, "--out", str(run)]
    return [
        [*search, "--trials", trials, "--epochs", "1", "--images", images, "--threads", "1", "--seed", "0"],
        ["train", str(run), "--epochs", epochs, "--top", top],
        ["export", str(run), "--threads", "1"],
        ["report", str(run)],
        ["run", str(run / "bundle"), "--battery", str(TRACE), "--data", "fashion-mnist", "--model", "best"],
    ]


def nas(arguments: list[str]) -> None:
    """One command, shown as it would be typed; it continues what an interrupted run left."""
    print("$ nas", *arguments, file=sys.stderr)
    subprocess.run([sys.executable, "-m", "nas", *arguments], check=True, cwd=ROOT)


def headline(bundle: dict[str, Any]) -> dict[str, Any]:
    """Test accuracy of the exit that validation chose, and the levels of the model with the widest span."""
    exits = bundle["provenance"]["exits"]
    chosen = max(exits, key=lambda found: found["accuracy"])
    spans = {}
    for level in bundle["levels"]:
        spans.setdefault(level["model"], []).append(level["macs"])
    widest = max(spans.values(), key=lambda macs: (len(macs) >= 3, max(macs) / min(macs)))
    return {
        "best_accuracy": chosen["test_accuracy"],
        "levels": len(widest),
        "cost_span": round(max(widest) / min(widest), 2),
    }


def keep(record: Record, run: Path, bundle: dict[str, Any]) -> None:
    """The small files that tell what happened: exits, trials, pictures; no weights."""
    rows = [
        {**found, "latency_ms": found["latency_ms"]["p50"], "latency_p95_ms": found["latency_ms"]["p95"]}
        for found in bundle["provenance"]["exits"]
    ]
    with (record.raw / "exits.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for picture in sorted((run / "report").glob("*.png")):
        shutil.copy(picture, record.raw / picture.name)


def main() -> None:
    record = Record("first_front", __doc__ or "")
    run = ROOT / "runs" / ("first_front_quick" if record.quick else "first_front")
    for command in commands(run, record.quick):
        nas(command)
    bundle = json.loads((run / "bundle" / "bundle.json").read_text())
    keep(record, run, bundle)
    record.finish(headline(bundle), NOTES)


NOTES = """
Seed 0. `exits.csv` has every exit of every exported network. The exit is chosen by validation accuracy; the
10,000 test images are read once, at export. `levels` and `cost_span` are of one model: MACs of its last
level over those of its first.
"""

if __name__ == "__main__":
    main()
