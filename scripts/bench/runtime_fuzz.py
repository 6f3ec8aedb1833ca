"""Damaged and forged bundles: each must work, or be refused with one sentence, and do nothing else.

As a program it opens the bundles whose paths it reads, one per line. It stands in the folder `outside`, to
which forged names, links and external tensors point. A bundle may take 20 s and, beside what its files have
when unpacked, 256 MiB: some ten times what the sound one takes, and what a small device can spare.

Seen are all files that Python opens and folders that it lists (audit hook), and all that anybody opens in
`outside`, ONNX Runtime too (inotify). Not seen are other files that C++ opens, and questions for a file's
size. Memory is the peak less what the process had before; what its allocator had kept does not count. Sound
networks that compute without end are not tried.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import json
import os
import re
import resource
import select
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any, final

import numpy as np
import runtime_forgery as forgery
from record import ROOT, Record, Row

from nas.errors import BundleError
from nas.runtime import FusedModel, Governor, Runtime, Signals

FILE = "fuzz.csv"
TIMEOUT_S, GROWTH_MIB, ADDRESS_MIB, MESSAGE = 20, 256, 3072, 600
IN_OPEN = 0x20  # of inotify


def collect(record: Record, *, bundles: int) -> None:
    """One row per bundle; its number decides how it is forged."""
    with tempfile.TemporaryDirectory() as place, closing(Opener(Path(place, "outside"))) as opener:
        sound = _sound_bundle(Path(place, "sound"))
        assert opener.judge(Path(place, "sound"), 0)["outcome"] == "works"
        for number in range(len(record.rows(FILE)), bundles):
            kind = forgery.KINDS[number % len(forgery.KINDS)]
            with tempfile.TemporaryDirectory(dir=place) as folder:
                path = Path(folder, "bundle")
                size = _forge(kind, sound, path, Random(number))
                record.add(FILE, {"number": number, "kind": kind, **opener.judge(path, size)})


def figures(rows: list[Row]) -> dict[str, object]:
    """How many bundles were tried, and how many neither worked nor were refused as they must be."""
    failures = sum(row["outcome"] not in ("works", "refused") for row in rows)
    return {"fuzz_bundles": len(rows), "fuzz_failures": failures}


def _sound_bundle(folder: Path) -> forgery.Files:
    """The files of a bundle of two networks with random weights, one of which remembers."""
    import torch  # here, for the program that opens bundles has no use for it

    from nas.bundle import Bundle, Latency, Level, Readout, write_bundle
    from nas.cost import Cost
    from nas.export.entries import model_entry
    from nas.model import Model
    from search_spaces import mixed

    torch.manual_seed(0)
    space = mixed.space.at((1, 8, 8), 10)
    readouts = {0: Readout(), 7: Readout(combine="mean", confidence="margin", temperatures=(1.5, 1.0, 0.5))}
    graphs = {seed: space.graph(space.sample(Random(seed))) for seed in readouts}
    entries = [model_entry(f"m{seed}", Model(graphs[seed]), readouts[seed]) for seed in readouts]
    costs = sorted((Cost.of(graphs[seed], exit).macs, seed, exit) for seed in readouts for exit in range(3))
    levels = (
        Level(
            model=f"m{seed}",
            exit=exit,
            accuracy=0.5,
            macs=macs,
            latency=Latency(p50_ms=macs / 1e6, p95_ms=macs / 5e5, spread=0.1, runs=9, target="none"),
            thresholds=(0.5, 0.0) if exit == 2 else None,
        )
        for macs, seed, exit in costs
    )
    models, classes = tuple(entry.model for entry in entries), tuple("0123456789")
    bundle = Bundle(input_shape=(1, 8, 8), classes=classes, models=models, levels=tuple(levels))
    write_bundle(folder, bundle, {"notes.txt": b"notes", **entries[0].files, **entries[1].files})
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.*")}


def _forge(kind: str, files: forgery.Files, path: Path, rng: Random) -> int:
    """Write one forged bundle, folder or zip, and say how many bytes its files have when unpacked."""
    files, index = dict(files), json.loads(files[forgery.INDEX])
    if kind in forgery.OF_FILES:
        forgery.OF_FILES[kind](files, rng)
    if kind.endswith("rehashed"):
        _rehash(files, index)
    size = sum(map(len, files.values()))
    if kind in forgery.OF_ZIPS or (kind in forgery.OF_FILES and rng.random() < 0.5):
        data = forgery.packed(files, rng.choice(("", "top/")))
        if kind in forgery.OF_ZIPS:
            data, size = forgery.OF_ZIPS[kind](data, rng), max(size, forgery.BOMBS.get(kind, 0))
        path.write_bytes(data)
        return size
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    if kind in forgery.OF_FOLDERS:
        forgery.OF_FOLDERS[kind](path, rng)
    return sum(file.lstat().st_size for file in path.rglob("*"))


def _rehash(files: forgery.Files, index: dict[str, Any]) -> None:
    """Write the sound index with the hashes that the files have now."""
    for entry in forgery.entries(index):
        entry["sha256"] = hashlib.sha256(files[entry["file"]]).hexdigest()
    index["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in index["files"]}
    files[forgery.INDEX] = json.dumps(index).encode()


@final
class Opener:
    """The program that opens bundles, begun again when it ends, and what is seen of it from here."""

    def __init__(self, outside: Path) -> None:
        outside.mkdir()
        canary = outside / "canary.bin"
        canary.write_bytes(bytes(2**20))  # zeros enough for any weight
        libc = ctypes.CDLL(None)
        self._outside, self._events = outside, libc.inotify_init1(os.O_NONBLOCK)
        libc.inotify_add_watch(self._events, os.fsencode(outside), IN_OPEN)
        canary.read_bytes()
        assert self._rang(), "an opened file must be seen"
        self._process = self._begun()

    def judge(self, path: Path, size: int) -> dict[str, object]:
        """The outcome of one bundle, whose files have so many bytes."""
        self._rang()  # forgets what was before
        start = time.monotonic()
        outcome, message, growth_mib = self._answer(path)
        seconds = time.monotonic() - start
        if growth_mib > GROWTH_MIB + size / 2**20:
            outcome = "memory"
        if self._rang():
            outcome = "outside"
        return {
            "outcome": outcome,
            "message": message.encode(errors="backslashreplace").decode(),  # half a pair is no UTF-8
            "seconds": round(seconds, 3),
            "growth_mib": round(growth_mib, 1),
        }

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._events)

    def _begun(self) -> subprocess.Popen[str]:
        pipe, command = subprocess.PIPE, [sys.executable, __file__]
        return subprocess.Popen(
            command, cwd=self._outside, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def _answer(self, path: Path) -> tuple[str, str, float]:
        """Outcome, message and growth in MiB; the program is begun again where it gives none."""
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):  # it has ended since: no line will come
            print(path, file=self._process.stdin, flush=True)
        ready, *_ = select.select([self._process.stdout], [], [], TIMEOUT_S)
        if ready and (line := self._process.stdout.readline()):
            outcome, message, growth_mib = json.loads(line)
            return outcome, message, growth_mib
        self._process.kill()
        code = self._process.wait()
        self._process = self._begun()
        return ("died", f"ended with {code}", 0.0) if ready else ("hung", "", 0.0)

    def _rang(self) -> bool:
        """Whether somebody opened a file outside since this was last asked."""
        with suppress(BlockingIOError):
            return bool(os.read(self._events, 2**16))
        return False


def work() -> None:
    """Open each bundle whose path comes as a line, and answer with a line."""
    opened = list[str]()
    sys.addaudithook(functools.partial(_watch, opened))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_MIB * 2**20,) * 2)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
        before = _memory_mib("VmRSS")
        opened.clear()
        outcome, message = _outcome(path)
        if outside := [name for name in opened if not _allowed(name, path)]:
            outcome, message = "outside", f"{outside[0]}; {message}"
        print(json.dumps([outcome, message, _memory_mib("VmHWM") - before]), flush=True)
        gc.collect()


def _outcome(path: Path) -> tuple[str, str]:
    try:
        _use(path)
    except BundleError as error:
        message = str(error)
        short = len(message) <= MESSAGE and message.isprintable()
        return "refused" if short else "unclear", message[: 2 * MESSAGE]
    except BaseException as error:
        return "raised", f"{type(error).__name__}: {error}"[: 2 * MESSAGE]
    return "works", ""


def _use(path: Path) -> None:
    """Run every level on one image and on two, and every fused file up to each exit."""
    runtime, rng = Runtime.load(path), np.random.default_rng(0)
    bundle = runtime.bundle
    for level in range(len(runtime.levels)):
        runtime.prepare(level)  # so that a shape is held against the files before an image is made of it
        images = rng.integers(0, 256, (2, *bundle.input_shape), np.uint8)
        runtime.run(images[0], level)
        runtime.run(images, level)
    for model in bundle.models:
        if model.fused:
            fused = FusedModel.load(bundle, model.name)
            for exit in range(model.exits):
                fused.run(images[0], exit, [0.5] * (model.exits - 1))
    Governor.of(bundle).step(Signals(battery_ratio=0.5, charging=False, time_s=1.0))


def _watch(opened: list[str], event: str, details: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and isinstance(details[0], str | bytes | os.PathLike):
        opened.append(os.fsdecode(details[0]))


def _allowed(name: str, path: Path) -> bool:
    """Whether a file belongs to the bundle, or to Python and what is installed or imported."""
    roots = (path, ROOT, Path(sys.prefix), Path(sys.base_prefix))
    return any(Path(name).resolve().is_relative_to(root.resolve()) for root in roots)


def _memory_mib(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


if __name__ == "__main__":
    work()
