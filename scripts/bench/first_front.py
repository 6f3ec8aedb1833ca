"""The main job on Fashion-MNIST with the commands of the README: search, train, export, run, report."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pandas import DataFrame
from record import ROOT, Record

from nas.search import read_study

SPACE = "search_spaces.mixed:space"
# Per exit, so that every network of the front has at least three exits and the first one is cheap.
BUDGET = "macs<=10M, macs@0<=1M, macs@2<=10M"
TRACE = ROOT / "scripts" / "drain.csv"


def commands(run: Path, quick: bool) -> list[list[str]]:
    trials, images, epochs, top = ("4", "1280", "1", "1") if quick else ("24", "16384", "10", "3")
    search = ["search", SPACE, "--data", "fashion-mnist", "--budget", BUDGET, "--out", str(run)]
    return [
        [*search, "--trials", trials, "--epochs", "1", "--images", images, "--threads", "1", "--seed", "0"],
        ["train", str(run), "--epochs", epochs, "--top", top],
        ["export", str(run), "--threads", "1"],
        ["report", str(run)],
        ["run", str(run / "bundle"), "--battery", str(TRACE), "--data", "fashion-mnist", "--model", "best"],
    ]


def nas(arguments: list[str]) -> str:
    """What one command prints; it is shown as typed, and continues what an interrupted run left."""
    print("$ nas", *arguments, file=sys.stderr)
    command = [sys.executable, "-m", "nas", *arguments]
    return subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout


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
    exits = [
        {**found, "latency_ms": found["latency_ms"]["p50"], "latency_p95_ms": found["latency_ms"]["p95"]}
        for found in bundle["provenance"]["exits"]
    ]
    DataFrame(exits).drop(columns=["energy_mj", "thresholds"]).to_csv(record.raw / "exits.csv", index=False)
    read_study(run).frame().to_csv(record.raw / "trials.csv", index=False)
    for picture in sorted((run / "report").glob("*.png")):
        shutil.copy(picture, record.raw / picture.name)


def level_rows(bundle: dict[str, Any]) -> str:
    """The levels as a Markdown table, with the accuracy on test images beside that on validation images."""
    tests = {(e["model"], e["exit"]): e["test_accuracy"] for e in bundle["provenance"]["exits"]}
    lines = [
        "| level | model | exit | validation | test | MACs | ms |",
        "| --: | --- | --: | --: | --: | --: | --: |",
    ]
    for number, level in enumerate(bundle["levels"]):
        model, exit = level["model"], level["exit"]
        accuracy = f"{level['accuracy']:.2%} | {tests[model, exit]:.2%}"
        ms = level["latency_ms"]["p50"]
        lines.append(f"| {number} | {model} | {exit} | {accuracy} | {level['macs']:,} | {ms:.3f} |")
    return "\n".join(lines)


def main() -> None:
    record = Record("first_front", __doc__ or "")
    run = ROOT / "runs" / ("first_front_quick" if record.quick else "first_front")
    printed = [nas(command) for command in commands(run, record.quick)]
    bundle = json.loads((run / "bundle" / "bundle.json").read_text())
    keep(record, run, bundle)
    (record.raw / "battery.txt").write_text(printed[-1])
    levels = level_rows(bundle)
    if not record.quick:
        readme = ROOT / "README.md"
        text = re.sub(MARKED, rf"\g<1>\n{levels}\n\g<2>", readme.read_text(), flags=re.DOTALL)
        readme.write_text(text)
    typed = "\n".join(
        f"    nas {shlex.join(command)}".replace(f"{ROOT}/", "") for command in commands(run, record.quick)
    )
    record.finish(headline(bundle), f"{NOTES}\n{levels}\n\n{typed}\n\n{PICTURES}")


MARKED = r"(<!-- first_front -->).*(<!-- /first_front -->)"
PICTURES = """
![Front of the search](front_macs.png)

![Levels against milliseconds](front_ms.png)

![Exits](exits.png)
"""
NOTES = """
Seed 0. `trials.csv` has every proposal of the search, `battery.txt` the battery run, `exits.csv` every exit
of every exported network. The exit is chosen by validation accuracy; the 10,000 test images are read once,
at export. `levels` and `cost_span` are of one model: MACs of its last level over those of its first.
"""

if __name__ == "__main__":
    main()
