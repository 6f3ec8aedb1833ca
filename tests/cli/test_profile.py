"""Holds `nas profile` against the values of its space, and its exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from nas.cli import main
from nas.cost import Cost
from nas.latency import Calibration, Measured
from nas.space import SearchSpace, load_space

Nas = Callable[..., str]

SHARE = {"networks", "fitting", "in_doubt", "share_ratio", "share_low_ratio", "share_high_ratio"}


def small_space() -> SearchSpace:
    space = load_space("user_spaces:space")
    assert isinstance(space, SearchSpace)
    return space


@pytest.fixture
def profile(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Profile the small space: the exit code and stdout; nothing may be on stderr."""

    def profile(*arguments: object) -> tuple[int, str]:
        code: Any = 0
        try:
            code = main(["profile", "user_spaces:space", *map(str, arguments)])
        except SystemExit as left:
            code = left.code
        out, err = capsys.readouterr()
        assert not err
        return code, out

    return profile


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    """A calibration of the small space on a target that takes 1 us for 1000 MACs, and 0.1 ms."""
    space, rng, measured = small_space(), Random(0), []
    for architecture in {space.sample(rng) for _ in range(60)}:
        graph = space.graph(architecture)
        macs = (Cost.of(graph, exit).macs for exit in range(len(graph.exits)))
        measured += 3 * [Measured(architecture, dict(enumerate(count / 1e6 + 0.1 for count in macs)))]
    Calibration.of(space, "test", measured).save(tmp_path / "calibration.json")
    return tmp_path / "calibration.json"


def test_json_says_what_the_space_has(profile: Run) -> None:
    code, out = profile("--budget", "macs<=60K, params@0<=100", "--networks", 40, "--json")
    values = json.loads(out)
    assert code == 0
    assert set(values) == {"spread", "limits", "together", "reachable", "answer", "closest"}
    assert set(values["spread"]) == {"macs", "params", "peak_bytes", "size_bytes", "params@0"}
    for key, spread in values["spread"].items():
        assert set(spread) == {"networks", "smallest", "median", "largest", "tightest"}
        assert spread["smallest"] <= spread["median"] <= spread["largest"]
        assert spread["networks"] == 40
        if key in ("macs", "params@0"):
            assert spread["tightest"] <= spread["smallest"]
    assert [limit["limit"] for limit in values["limits"]] == ["macs<=60K", "params@0<=100"]
    for limit in values["limits"]:
        assert set(limit) == SHARE | {"limit", "key", "bound", "tightest", "reachable"}
        assert limit["reachable"] == (limit["tightest"] <= limit["bound"])
    assert set(values["together"]) == SHARE
    space = small_space()
    graph = space.graph(space.architecture(values["closest"]["architecture"]["choices"]))
    assert values["closest"]["values"]["macs"] == Cost.of(graph).macs <= 60_000
    assert values["closest"]["values"]["params@0"] == Cost.of(graph, 0).params <= 100


def test_the_tables_say_the_same_as_the_json(profile: Run) -> None:
    command = ("--budget", "macs<=20K, size<=4KiB", "--networks", 30, "--seed", 4)
    code, out = profile(*command)
    values = json.loads(profile(*command, "--json")[1])
    spread, limits, answer = (part.splitlines() for part in out.split("\n\n"))
    assert code == 0
    assert spread[0] == "30 random networks"
    names = ("smallest", "median", "largest", "tightest")
    for line, (key, found) in zip(spread[2:], values["spread"].items(), strict=True):
        assert line.split() == [key, *("-" if found[name] is None else f"{found[name]:,}" for name in names)]
    shares = [*values["limits"], values["together"]]
    for line, share in zip(limits[1:], shares, strict=True):
        name, ratio, low, _, high, doubt, *_ = line.split()
        assert name == share.get("limit", "all")
        assert [ratio, low, high] == [
            f"{share[key]:.2%}" for key in ("share_ratio", "share_low_ratio", "share_high_ratio")
        ]
        assert doubt == "0"
        assert line.endswith("  can be met")
    assert answer == [values["answer"]]


def test_a_budget_out_of_reach_is_code_1(profile: Run) -> None:
    code, out = profile("--budget", "macs<=100", "--networks", 20, "--json")
    values = json.loads(out)
    assert code == 1
    assert values["reachable"] is False
    least = values["closest"]["values"]["macs"]
    assert least == values["spread"]["macs"]["tightest"]
    assert values["answer"].endswith(f"the least found for macs<=100 is {least / 1e3:.6g}K")


def test_without_a_budget_the_spread_is_shown(profile: Run) -> None:
    code, out = profile("--networks", 20, "--input", "3,9,7", "--classes", 5)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        "metric",
        "macs",
        "params",
        "peak_bytes",
        "size_bytes",
    ]
    (_, smallest, *_) = out.splitlines()[2].split()
    space, rng = small_space().at((3, 9, 7), 5), Random("0 sample")
    assert smallest == f"{min(Cost.of(space.graph(space.sample(rng))).macs for _ in range(20)):,}"


def test_latency_is_that_of_the_calibration(profile: Run, calibration: Path) -> None:
    command = ("--networks", 40, "--calibration", calibration, "--json")
    values = json.loads(profile("--budget", "latency<=0.13ms, latency@0<=1ms", *command)[1])
    predictor = Calibration.load(calibration).predictor
    space, rng = small_space(), Random("0 sample")
    graphs = [space.graph(space.sample(rng)) for _ in range(40)]
    last, first = values["limits"]
    assert last["fitting"] == sum(predictor(graph) <= 0.13 for graph in graphs)
    assert first["fitting"] == 40
    smallest = min(predictor(graph, 0) for graph in graphs)
    assert values["spread"]["latency_ms@0"]["smallest"] == pytest.approx(smallest)
    code, out = profile("--budget", "latency<=10us", *command[:-1])
    assert code == 1
    assert "the least found for latency<=10us is" in out


def test_a_calibration_says_for_which_images(profile: Run, nas: Nas, calibration: Path) -> None:
    assert "latency_ms" in profile("--networks", 5, "--calibration", calibration)[1]
    other = ("profile", "user_spaces:space", "--calibration", calibration, "--input", "3,9,7")
    assert "calibrate again" in nas(*other, code=2)
    assert "calibrate again" in nas("profile", "user_spaces:other", "--calibration", calibration, code=2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("user_spaces:space --budget latency<=1ms", "--calibration"),
        ("user_spaces:space --budget speed<=3", "macs"),
        ("user_spaces:space --budget energy<=3mJ", "energy<=3mJ"),
        ("user_spaces:space --calibration missing.json", "missing.json"),
        ("user_spaces:space --data digits --classes 3", "--classes"),
        ("user_spaces:without_exit", "exit"),
        ("search_spaces.mobile:mobilenet_v2", "one network"),
    ],
)
def test_misuse_is_one_sentence(nas: Nas, arguments: str, told: str) -> None:
    assert told in nas("profile", *arguments.split(), code=2)


@pytest.mark.parametrize("arguments", ["--networks 0", "--seed -1", "--input 3,32"])
def test_bad_options_are_code_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["profile", "user_spaces:space", *arguments.split()])
    assert left.value.code == 2
    assert "usage: nas profile" in capsys.readouterr().err


def test_a_layer_that_was_never_measured_is_told(nas: Nas, calibration: Path) -> None:
    record = json.loads(calibration.read_text())
    factors_ms = record["predictor"]["factors_ms"]
    record["predictor"]["factors_ms"] = {"call": factors_ms["call"]}
    record["networks"] = []
    calibration.write_text(json.dumps(record))
    assert "calibrate longer" in nas(
        "profile", "user_spaces:space", "--networks", 5, "--calibration", calibration, code=2
    )
