"""The governor in JavaScript does what the one in Python does, reason by reason."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from nas.bundle import Level
from nas.runtime import Governor, Signals
from nas.runtime.policy import short

HERE = Path(__file__).parent
FILE = HERE / "governor_cases.json"
CASES: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
STALE = "the governor does otherwise than the cases say; if that is meant, run scripts/governor_cases.py"


@pytest.mark.parametrize("case", CASES["cases"], ids=range(len(CASES["cases"])))
def test_the_cases_say_what_the_governor_does(case: dict[str, Any]) -> None:
    levels = tuple(Level.from_json(level) for level in case["levels"])
    governor = Governor.from_json(case["governor"], levels)
    for row, *expected in case["steps"]:
        governor = governor.step(Signals(**dict(zip(CASES["signals"], row, strict=True))))
        assert [governor.level, governor.switched, governor.reason] == expected, STALE
    assert json.loads(json.dumps(governor.to_json())) == case["end"], STALE


def test_the_cases_write_numbers_as_reasons_do() -> None:
    assert [short(value) for value, _ in CASES["numbers"]] == [text for _, text in CASES["numbers"]], STALE


def test_cases_reach_all_policies_and_switch_often() -> None:
    text = FILE.read_text(encoding="utf-8")
    names = "battery_bands", "charger", "deadline", "energy_until", "lowest", "thermal_clamp", "user_pin"
    assert all(f'{{"name":"{name}"' in text for name in names)
    steps = [step for case in CASES["cases"] for step in case["steps"]]
    assert sum(switched for _, _, switched, _ in steps) > 100
    assert sum("too young" in reason for *_, reason in steps) > 50


def test_javascript_does_the_same() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node must be on PATH to run the governor in JavaScript, but is not")
    command = [node, str(HERE / "governor_cases.mjs"), str(files("nas") / "web"), str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("count") == 0, found["first"]
    assert found == {"cases": 64, "steps": 64 * 40, "first": []}
