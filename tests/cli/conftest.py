"""The folder of a whole small run, commands run as a user runs them, a space and a target all known."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import final

import numpy as np
import pytest

from nas.cli import main
from nas.latency import Target, Timing, measure_exits
from nas.latency.recorded import Recorder
from nas.latency.target import Inputs
from nas.space import Architecture, SearchSpace, load_space

HERE = Path(__file__).parent
Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]
Record = Callable[..., Path]
Lacking = Callable[..., str]
SPACE = "user_spaces:space"
NETWORKS = 8  # of that space
DEVICE_LACKS = ("fvcore", "matplotlib", "onnx", "openvino", "optuna", "pandas", "torch")
LACKING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise {error}
sys.meta_path.insert(0, Missing())
from nas.cli import main
sys.exit(main(sys.argv[1:]))
"""
FRONT = ("--objective", "maximize:accuracy", "--objective", "minimize:macs")  # no time decides who is on it


@pytest.fixture(autouse=True)
def _beside_the_spaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(HERE)


@pytest.fixture
def nas(capsys: pytest.CaptureFixture[str]) -> Nas:
    """Run a command in this process; its stdout, or for another exit code its one line on stderr."""

    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        found = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        if not code:
            return out
        assert not out
        assert err.startswith("nas: ")
        assert err.count("\n") == 1
        return err

    return run


@pytest.fixture(scope="session")
def lacking() -> Lacking:
    """A program that is nas where importing these packages is an error."""

    def program(*names: str, error: str = "ModuleNotFoundError(name, name=name)") -> str:
        return LACKING.format(names=names, error=error)

    return program


@pytest.fixture(scope="session")
def device_program(lacking: Lacking) -> str:
    """A program that is nas on a device, which has no more than it needs."""
    return lacking(*DEVICE_LACKS)


@pytest.fixture(scope="session")
def start() -> Start:
    """Start a Python process beside the spaces; it finds nas wherever the tests do."""

    def run(*program: object) -> subprocess.Popen[str]:
        # Programs begun in the background of a shell are deaf to Ctrl-C, and so would be what they start.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            return subprocess.Popen(
                [sys.executable, *map(str, program)],
                cwd=HERE,
                env=os.environ | {"PYTHONPATH": str(HERE.parents[1])},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, before)

    return run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of three trainings of one epoch, two networks trained, exported. Not to be changed."""
    folder = tmp_path_factory.mktemp("run") / "d"
    search = f"search user_spaces:space --data digits --trials 3 --epochs 1 --sampler random --out {folder}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.chdir(HERE)
        for command in (
            [*search.split(), "--budget", "macs<=100K, latency<=1s", *FRONT],
            ["train", str(folder), "--epochs", "1", "--top", "2"],
            ["export", str(folder), "--torch"],
        ):
            assert main(command) == 0
    return folder


@pytest.fixture
def copy(run_folder: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return shutil.copytree(run_folder, tmp_path / "copy")


@final
class SizeTarget(Target):
    """A nanosecond or more for each byte of a file."""

    def __init__(self, factor: float = 1.0, identity: str = "by size") -> None:
        self._factor, self._identity = factor, identity

    @property
    def identity(self) -> str:
        return self._identity

    def time(self, models: Sequence[bytes], inputs: Inputs, *, seconds: float = 2.0) -> Timing:
        times_s = self._factor * 1e-9 * np.array([[len(model) for model in models]])
        return Timing((times_s,) * 4, (), 0.0, self.identity)


@pytest.fixture
def size_target() -> type[SizeTarget]:
    return SizeTarget


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> SearchSpace:
    monkeypatch.syspath_prepend(HERE)
    space = load_space(SPACE)
    assert isinstance(space, SearchSpace)
    return space


@pytest.fixture
def networks(space: SearchSpace) -> list[Architecture]:
    """All networks of the space."""
    rng = Random(0)
    found = {architecture.id: architecture for architecture in (space.sample(rng) for _ in range(300))}
    assert len(found) == NETWORKS
    return list(found.values())


@pytest.fixture
def record(space: SearchSpace, networks: list[Architecture], tmp_path: Path) -> Record:
    """Record all networks on a target by size: the file."""

    def record(factor: float = 1.0, identity: str = "by size") -> Path:
        path = tmp_path / f"{identity} {factor}.json"
        for architecture in networks:
            measure_exits(Recorder(SizeTarget(factor, identity), path), space.graph(architecture))
        return path

    return record


@pytest.fixture
def calibration(nas: Nas, record: Record, tmp_path: Path) -> Path:
    path = tmp_path / "calibration.json"
    nas("calibrate", SPACE, "--target", f"recorded:{record()}", "--out", path)
    return path
