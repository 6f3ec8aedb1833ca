"""Holds what all commands share: help, exit codes, one sentence on stderr, and what needs which package."""

import shlex
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli.entry import load_commands, main, make_parser
from nas.search import read_study

Nas = Callable[..., str]
Start = Callable[..., subprocess.Popen[str]]
Lacking = Callable[..., str]

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "optuna",
    "onnx",
    "pandas",
    "sklearn",
    "rich",
    "matplotlib",
    "fvcore",
    "thop",
    "safetensors",
)
CLOSED = """
import os, sys
os.close(int(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-m", "nas", *sys.argv[2:]])
"""


@pytest.mark.parametrize("name", load_commands())
def test_help_has_examples_that_are_commands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    examples = capsys.readouterr().out.split("Example:\n")[1].split("\n\n")[0].splitlines()
    for example in examples:
        nas, *arguments = shlex.split(example)
        assert (nas, make_parser(load_commands()).parse_args(arguments).command) == ("nas", name)


def test_python_m_nas_equals_nas(nas: Nas, start: Start) -> None:
    command = ("cost", "user_spaces:space", "--sample", "3", "--json")
    out, err = start("-m", "nas", *command).communicate()
    assert (out, err) == (nas(*command), "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"nas": "nas.cli:main"}


NEW = "--data digits --epochs 1 --trials 1"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("cost no_such_module:space", "no_such_module"),
        ("cost user_spaces:nothing", "other"),
        ("cost user_spaces", "module:attribute"),
        ("cost missing.json", "missing.json"),
        ("cost user_spaces:space --data no-such-data", "no-such-data"),
        ("cost user_spaces:doubled", "'width'"),
        ("cost user_spaces:without_exit", "exit"),
        ("cost user_spaces:vanishing", "(1, 1)"),
        (f"search user_spaces:doubled {NEW} --out {{out}}", "'width'"),
        (f"search user_spaces:without_exit {NEW} --out {{out}}", "exit"),
        (f"search user_spaces:vanishing {NEW} --out {{out}}", "(1, 1)"),
        (f"search search_spaces.mobile:mobilenet_v2 {NEW} --out {{out}}", "one network"),
        (f"search user_spaces:space {NEW} --budget latency<=3 --out {{out}}", "ms"),
        (f"search user_spaces:space {NEW} --budget speed<=3 --out {{out}}", "macs"),
        (f"search user_spaces:space {NEW} --budget macs<=1K --out {{out}}", "least"),
        (f"search user_spaces:space {NEW} --sampler best --out {{out}}", "tpe"),
        ("search user_spaces:space --out {out}", "--data"),
        ("cost search_spaces.squeeze:squeezenet_1_1 --sample 2", "--sample"),
        ("cost search_spaces.squeeze:squeezenet_1_1 --seed 0", "--seed"),
        ("cost search_spaces.mobile:mobilenet_v2 --input 1,8,8", "(1, 8, 8)"),
        ("cost user_spaces:space --data digits --classes 3", "--classes"),
        (f"search user_spaces:space {NEW} --budget latency<=1us --out {{out}}", "least"),
        ("front {out}", "study.json"),
        ("train {out}", "job.json"),
        ("export {out}", "job.json"),
        ("report {out}", "job.json"),
        ("run {out} --synthetic", "must be readable"),
    ],
)
def test_misuse_is_one_sentence_and_code_2(nas: Nas, tmp_path: Path, command: str, told: str) -> None:
    out = tmp_path / "out"
    assert told in nas(*shlex.split(command.format(out=out)), code=2)
    assert not out.exists()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "no-such-command",
        "cost",
        "cost user_spaces:space --sample 0",
        "run bundle",
        "search a:b",
        "search a:b --out c --images 1",
        "search a:b --out c --objective beauty",
        "search a:b --out c --objective maximize:beauty",
        "search a:b --out c --objective maximize:accuracy@last",
        "search a:b --out c --objective minimize:macs@",
    ],
)
def test_a_wrong_command_line_is_code_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(command.split())
    assert left.value.code == 2
    assert "usage: nas" in capsys.readouterr().err


def test_a_failure_is_code_1_and_debug_shows_where(nas: Nas) -> None:
    command = ("cost", "user_spaces:faulty")
    assert "ZeroDivisionError: in the space" in nas(*command, code=1)
    with pytest.raises(ZeroDivisionError):
        main(["--debug", *command])


@pytest.mark.parametrize(
    ("package", "missing", "command"),
    [
        ("torch", "torch", f"search user_spaces:space {NEW} --out out"),
        ("scikit-learn", "sklearn", "cost user_spaces:space --data digits"),
    ],
)
def test_a_missing_package_names_its_extra(
    lacking: Lacking, start: Start, package: str, missing: str, command: str
) -> None:
    process = start("-c", lacking(missing), *command.split())
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err == f"nas: {package} must be installed, but it is not; do pip install 'nas-dial[search]'\n"


def test_run_needs_only_what_a_device_has(
    lacking: Lacking, start: Start, run_folder: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,battery_percent\n0,100\n60,30\n120,5\n")
    process = start("-c", lacking(*HEAVY), "run", run_folder / "bundle", "--battery", trace)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "battery 30 %" in out


def test_reports_without_matplotlib_write_nothing(
    lacking: Lacking, start: Start, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    process = start("-c", lacking("matplotlib"), "report", run_folder, "--out", out)
    assert "nas-dial[report]" in process.communicate()[1]
    assert process.returncode == 1
    assert not out.exists()


def test_an_interrupted_search_says_that_it_continues(start: Start, nas: Nas, tmp_path: Path) -> None:
    out = tmp_path / "d"
    command = ("search", "search_spaces.tiny:space", "--data", "digits", "--sampler", "random", "--out", out)
    process = start("-m", "nas", *command, "--trials", 1000)
    while not (out / "job.json").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "nas: interrupted; the same command continues\n")
    assert process.returncode == 130
    assert nas(*command, "--trials", 1).startswith("trial")


def test_an_interruption_while_modules_load_is_one_line(lacking: Lacking, start: Start) -> None:
    interrupted = lacking("numpy", error="KeyboardInterrupt")
    process = start("-c", interrupted, "cost", "user_spaces:space")
    assert process.communicate() == ("", "nas: interrupted\n")
    assert process.returncode == 130


@pytest.mark.parametrize("closed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_closed_stream_is_no_error(start: Start, tmp_path: Path, closed: int) -> None:
    command = ("search", "user_spaces:space", *NEW.split(), "--out", tmp_path / "d")
    out, err = start("-c", CLOSED, closed, *command).communicate()
    assert (bool(out), bool(err)) == (closed == 2, closed == 1)
    assert ("1 networks trained" if closed == 1 else "accuracy") in out + err
    assert read_study(tmp_path / "d").evaluated == 1


def test_a_reader_that_leaves_is_no_error(start: Start) -> None:
    process = start("-m", "nas", "cost", "search_spaces.mobile:space", "--sample", 100)
    assert process.stdout
    process.stdout.close()
    process.stdout = None
    assert process.communicate() == (None, "")
    assert process.returncode == 0


@pytest.mark.parametrize("damage", ["truncate", "tamper", "lose"])
def test_a_damaged_bundle_is_code_2(nas: Nas, run_folder: Path, tmp_path: Path, damage: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(run_folder / "bundle", bundle)
    file = next(bundle.glob("models/*/trunk_0.onnx"))
    content = file.read_bytes()
    file.unlink()
    if damage != "lose":
        changed = bytes([content[0] ^ 1]) + content[1:]
        file.write_bytes(content[:100] if damage == "truncate" else changed)
    assert "trunk_0.onnx" in nas("run", bundle, "--synthetic", code=2)
