"""A whole job against an agent in a network namespace, by a program that cannot measure locally."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from record import ROOT, Record

from nas.bundle import Bundle
from nas.latency import Calibration
from nas.search import read_study

FILE = "remote.json"
HOST, PORT = "10.213.7.2", 7213
NAS_WITHOUT_LOCAL = """
import sys
from nas.latency.local import LocalTarget
def refuse(*given, **named): raise SystemExit("measured locally")
LocalTarget.time = refuse
from nas.cli import main
sys.exit(main(sys.argv[1:]))
"""


def collect(record: Record, *, seconds: int, trials: int) -> None:
    """Calibrate, search, train, export and verify; not where a namespace cannot be made."""
    if (record.raw / FILE).exists():
        return
    if os.geteuid() or not shutil.which("ip"):
        print("no remote job: it needs root and ip", file=sys.stderr)
        return
    run = ROOT / "runs" / ("latency_remote_quick" if record.quick else "latency_remote")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    token = run / "token"
    token.write_text("a token for this run only")
    target = f"tcp://{HOST}:{PORT},token-file={token}"
    with device(token):
        space = ("search_spaces.tiny:space", "--data", "digits")
        calibration = str(run / "device.json")
        _nas("calibrate", *space, "--target", target, "--out", calibration, "--seconds", str(seconds))
        middle_ms = _median_ms(Path(calibration))
        job = str(run / "job")
        budget = f"macs<=200k, latency<={middle_ms:.4f}ms"
        _nas("search", *space, "--target", target, "--calibration", calibration, "--budget", budget,
             "--trials", str(trials), "--epochs", "1", "--sampler", "random", "--out", job)  # fmt: skip
        _nas("train", job, "--epochs", "2", "--top", "2")
        _nas("export", job)
        verified = _nas("verify", f"{job}/bundle", "--target", target, "--json", check=False)
    bundle, study = Bundle.load(f"{job}/bundle"), read_study(job)
    targets = sorted({level.latency.target for level in bundle.levels if level.latency})
    found = {
        "budget": budget,
        "rejections": dict(study.rejections),
        "trained": study.evaluated,
        "levels": len(bundle.levels),
        "targets_of_certificates": targets,
        "levels_that_keep_the_budget": [level.keeps_budget for level in bundle.levels],
        "verified": [level["kept"] for level in json.loads(verified)["levels"]],
    }
    (record.raw / FILE).write_text(json.dumps(found, indent=2) + "\n")


@contextmanager
def device(token: Path) -> Iterator[None]:
    """An agent in a namespace that is joined to this one by a pair of virtual cables."""
    name = "nas-dial-device"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", "nasdial0", "type", "veth", "peer", "name", "nasdial1", "netns", name)
        _ip("addr", "add", "10.213.7.1/24", "dev", "nasdial0")
        _ip("link", "set", "nasdial0", "up")
        _ip("-n", name, "addr", "add", f"{HOST}/24", "dev", "nasdial1")
        _ip("-n", name, "link", "set", "nasdial1", "up")
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "nas", "agent", "--host", HOST]
        agent = subprocess.Popen([*command, "--port", str(PORT), "--token-file", str(token)], cwd=ROOT)
        time.sleep(2)
        try:
            yield
        finally:
            agent.terminate()
            agent.wait()
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _nas(*arguments: str, check: bool = True) -> str:
    print("$ nas", *arguments, file=sys.stderr)
    command = [sys.executable, "-c", NAS_WITHOUT_LOCAL, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=check, stdout=subprocess.PIPE, text=True)
    return done.stdout


def _median_ms(path: Path) -> float:
    return median(network.last_ms for network in Calibration.load(path).measured)
