"""A trace is read as it was written, and a file that is none is refused in one clear sentence."""

from pathlib import Path
from random import Random

import pytest

from nas.errors import DataError
from nas.simulation import Moment, Trace


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(text)
    return path


def _random_trace(random: Random) -> Trace:
    start_s, step_s = random.choice([0, -100, 86400]), random.choice([0.5, 1, 60])
    return Trace(
        tuple(
            Moment(
                time_s=start_s + step_s * number,
                requests=random.randint(0, 1000),
                slowdown=random.choice([1.0, 2.0, 0.125]),
                noise=random.choice([1.0, 1.0625]),
                deadline_ms=random.choice([None, 0.25]),
                charger_w=random.choice([0.0, 7.5]),
                heat_w=random.choice([0.0, 0.5]),
                until_s=random.choice([None, 1000.0]),
                changed=random.random() < 0.2,
            )
            for number in range(random.randint(2, 50))
        )
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_trace_is_read_as_it_was_written(tmp_path: Path, seed: int) -> None:
    trace = _random_trace(Random(seed))
    trace.save(tmp_path / "day.csv")
    assert Trace.load(tmp_path / "day.csv") == trace


def test_empty_cells_and_absent_columns_do_not_apply(tmp_path: Path) -> None:
    path = _write(tmp_path, "requests,time_s,deadline_ms,changed\n3,0,,\n4,2,0.5,true\n")
    first, second = Trace.load(path)
    assert first == Moment(time_s=0, requests=3)
    assert second == Moment(time_s=2, requests=4, deadline_ms=0.5, changed=True)
    assert (Trace.load(path).step_s, Trace.load(path).requests) == (2, 7)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the header must have time_s and requests"),
        ("requests\n1\n2\n", "line 1: the header must have time_s and requests"),
        ("time_s\n1\n2\n", "line 1: the header must have time_s and requests"),
        ("time_s,requests,colour\n0,1,red\n1,1,red\n", "but got colour, requests, time_s"),
        ("time_s,requests\n", "at least two moments, but has 0"),
        ("time_s,requests\n0,1\n", "at least two moments, but has 1"),
        ("time_s,requests\n0,1\n1,1\n3,1\n", "equally far apart, but 1 to 2 s lie between"),
        ("time_s,requests\n1,1\n0,1\n", "equally far apart, but -1 to -1 s"),
        ("time_s,requests\n0,1\n0,1\n", "equally far apart, but 0 to 0 s"),
        ("time_s,requests\n0,1\n1,-1\n", "line 3: requests must be finite and not below 0, but got -1"),
        ("time_s,requests,charger_w\n0,1,-2\n1,1,0\n", "line 2: charger_w must be finite and not below 0"),
        ("time_s,requests,heat_w\n0,1,nan\n1,1,0\n", "line 2: heat_w must be finite and not below 0"),
        ("time_s,requests,slowdown\n0,1,0\n1,1,1\n", "line 2: slowdown must be finite and not below 0.001"),
        ("time_s,requests,deadline_ms\n0,1,0\n1,1,1\n", "line 2: deadline_ms must be above 0, but got 0"),
        ("time_s,requests\n0,many\n1,1\n", "'many'"),
        ("time_s,requests\nnoon,1\n1,1\n", "'noon'"),
        ("time_s,requests\nnan,1\n1,1\n", "must be"),
        ("time_s,requests\n0,1.5\n1,1\n", "'1.5'"),
        ("time_s,requests\n0,\n1,1\n", "requests"),
        ('time_s,requests\n0,"1\n1,1\n', "must be a readable CSV file"),
    ],
)
def test_what_is_no_trace_is_refused_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError) as refused:
        Trace.load(_write(tmp_path, text))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere\.csv must be a readable CSV file, but got .*; give a trace"
    ):
        Trace.load(tmp_path / "nowhere.csv")
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xfe\x00time_s")
    with pytest.raises(DataError, match=r"binary\.csv must be a readable CSV file"):
        Trace.load(path)
