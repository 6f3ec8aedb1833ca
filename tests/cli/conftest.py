"""The folder of a whole small run, and commands run as a user runs them, beside a module of spaces."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli import main

HERE = Path(__file__).parent
Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]
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
