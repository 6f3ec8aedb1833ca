"""Holds that tables say what is known, and which columns are numbers."""

import pytest

from nas.bundle import Latency, Level
from nas.report.tables import Table, level_table, trial_table
from nas.search import Maximize, Minimize, Trial
from nas.space import Architecture

TRIALS = (
    Trial(0, Architecture("a:b", (), (1, 8, 8), 2, "f" * 32), "complete", {"accuracy": 0.5, "macs": 1e6}),
    Trial(
        1,
        Architecture("a:b", (), (1, 8, 8), 2, "e" * 32),
        "infeasible",
        {"macs": 2.5e6},
        "too large",
        ("macs",),
    ),
)
OBJECTIVES = (Maximize("accuracy"), Minimize("macs"))


@pytest.mark.parametrize(
    ("cell", "text", "number"),
    [
        (1234567, "1,234,567", True),
        (0.25, "0.2500", True),
        (None, "-", True),
        ("net0", "net0", False),
        ("", "", False),
    ],
)
def test_cells(cell: object, text: str, number: bool) -> None:
    table = Table.of(("head",), [(cell,)])
    assert table.rows == ((text,),)
    assert table.numeric == (number,)


def test_trials_tell_why_only_where_there_is_something_to_tell() -> None:
    assert trial_table(TRIALS[:1], OBJECTIVES) == Table(
        ("trial", "network", "accuracy", "MACs", "parameters"), (("0", "f" * 12, "0.5000", "1,000,000", "-"),)
    )
    table = trial_table(TRIALS, OBJECTIVES)
    assert table.header[-2:] == ("state", "reason")
    assert table.rows[1][2:] == ("-", "2,500,000", "-", "infeasible", "too large")


def test_levels_that_were_not_measured_have_no_time() -> None:
    latency = Latency(p50_ms=0.5, p95_ms=1.0, spread=0.1, runs=9, target="chip")
    levels = [
        Level(model="net0", exit=0, accuracy=0.5, macs=1000),
        Level(model="net0", exit=1, accuracy=0.75, macs=2000, latency=latency),
    ]
    assert level_table(levels).rows == (
        ("0", "net0", "0", "0.5000", "1,000", "-", "-"),
        ("1", "net0", "1", "0.7500", "2,000", "0.5000", "1.0000"),
    )


def test_a_level_whose_images_may_leave_sooner_says_so() -> None:
    level = Level(model="net0", exit=1, accuracy=0.75, macs=1500, thresholds=(0.5,), shares=(0.5, 0.5))
    assert level_table((level,)).rows[0][2] == "1 or sooner"
