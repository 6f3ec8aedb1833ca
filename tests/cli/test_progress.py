"""Holds that progress is one line, and only where somebody watches."""

from io import StringIO

from nas.cli.progress import LiveLine


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_where_nobody_watches() -> None:
    stream = StringIO()
    with LiveLine(stream) as line:
        line.count(1, 2, "half")
        line.show("more")
    assert stream.getvalue() == ""


def test_a_line_replaces_the_one_before_and_is_wiped() -> None:
    stream, times_s = Terminal(), iter((100.0, 130.0, 160.0))
    with LiveLine(stream, lambda: next(times_s)) as line:
        line.count(4, 10, "four were there")
        line.count(6, 10, "two more took a minute")
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines == ["", "4/10  four were there  0:30", "6/10  two more took a minute  1:00, 2:00 left", ""]


def test_a_long_line_does_not_wrap() -> None:
    stream = Terminal()
    LiveLine(stream).show("x" * 10_000)
    assert len(stream.getvalue()) < 1000
