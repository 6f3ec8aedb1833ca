"""Draws a simulated day: which levels ran when, the battery and the heat, beside the best in hindsight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, final

from nas.errors import MissingExtraError
from nas.report.plots import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nas.bundle import Level
    from nas.simulation import Device, Replay

__all__ = ["Course", "draw_day", "follow_day"]

UNITS = ((3 * 3600, 3600.0, "hours"), (600, 60.0, "minutes"), (0, 1.0, "seconds"))
"""From which length on, in seconds, a time axis has which unit."""
LANE, GAP = 0.34, 0.02  # of the height of a level's row, for each of two courses
WIDTHS = (1.8, 1.1)
PALE = "#e6e8eb"
SHADE = "#f3ecd2"


@final
@dataclass(frozen=True, kw_only=True)
class Course:
    """A replay as columns, one entry per step: charge and heat are those before it; None is what is none."""

    times_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    levels: tuple[int, ...]
    battery_ratios: tuple[float | None, ...]
    temperatures_c: tuple[float | None, ...]
    charging: tuple[bool, ...]
    reasons: tuple[str, ...]

    def spans(self, wanted: Iterable[bool]) -> tuple[tuple[float, float], ...]:
        """Beginning and end of each stretch of steps in which `wanted` is true."""
        stretches = groupby(zip(wanted, self.times_s, self.ends_s, strict=True), key=lambda step: step[0])
        found = [(here, list(steps)) for here, steps in stretches]
        return tuple((steps[0][1], steps[-1][2]) for here, steps in found if here)


def follow_day(device: Device, replay: Replay) -> Course:
    """What a replay went through."""
    steps = replay.steps
    times_s = tuple(step.moment.time_s for step in steps)
    return Course(
        times_s=times_s,
        ends_s=(*times_s[1:], 2 * times_s[-1] - times_s[-2]),
        levels=tuple(step.level for step in steps),
        battery_ratios=tuple(device.battery_ratio(step.state) for step in steps),
        temperatures_c=tuple(
            device.temperature_c(step.state) if device.most_heat else None for step in steps
        ),
        charging=tuple(step.moment.charger_w > 0 for step in steps),
        reasons=tuple(step.reason for step in steps),
    )


def draw_day(courses: Mapping[str, Course], levels: Sequence[Level], *, throttle_c: float) -> Figure:
    """Panels over one time: the levels of two courses in two lanes, and battery and heat if there are any."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError.of("matplotlib", "report") from None
    used = sorted({number for course in courses.values() for number in course.levels})
    first = next(iter(courses.values()))
    powered, heated = None not in first.battery_ratios, None not in first.temperatures_c
    heights = [0.9 + 0.3 * len(used), *[1.7] * (powered + heated)]
    figure = Figure(figsize=(8, 0.6 + sum(heights)), dpi=160, layout="constrained")
    panels = list(figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    length_s = first.ends_s[-1] - first.times_s[0]
    _, scale_s, unit = next(each for each in UNITS if length_s >= each[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.margins(x=0.01)
    panels[-1].set_xlabel(unit)
    _draw_levels(panels[0], courses, levels, scale_s=scale_s)
    if powered:
        _draw_charge(panels[1], courses, scale_s)
    if heated:
        _draw_heat(panels[-1], courses, throttle_c, scale_s)
    return figure


def _draw_levels(
    axes: Axes, courses: Mapping[str, Course], levels: Sequence[Level], *, scale_s: float
) -> None:
    """A row for each level that ran, and in it a lane for each course."""
    used = sorted({number for course in courses.values() for number in course.levels})
    for turn, (name, course) in enumerate(courses.items()):
        for row, number in enumerate(used):
            spans = course.spans(level == number for level in course.levels)
            bars = [(start_s / scale_s, (end_s - start_s) / scale_s) for start_s, end_s in spans]
            bottom = row + (GAP if turn == 0 else -GAP - LANE)
            label = name if row == 0 else None
            axes.broken_barh(bars, (bottom, LANE), color=COLORS[turn], linewidth=0, label=label)
    axes.set_yticks(range(len(used)), [f"level {number}, {levels[number].accuracy:.1%}" for number in used])
    axes.set_yticks([row + 0.5 for row in range(len(used) - 1)], minor=True)
    axes.grid(axis="y", which="minor", color=PALE, linewidth=0.8)
    axes.set_ylim(-0.5, len(used) - 0.5)
    axes.tick_params(axis="y", which="both", length=0)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(courses), borderaxespad=0)


def _draw_charge(axes: Axes, courses: Mapping[str, Course], scale_s: float) -> None:
    """The battery of each course, shaded where a charger is in."""
    for turn, course in enumerate(courses.values()):
        charges = [100 * (ratio or 0.0) for ratio in course.battery_ratios]
        _draw_line(axes, turn, [time_s / scale_s for time_s in course.times_s], charges)
    for number, (start_s, end_s) in enumerate(course.spans(course.charging)):
        label = "charger" if number == 0 else None
        axes.axvspan(start_s / scale_s, end_s / scale_s, color=SHADE, linewidth=0, label=label)
    axes.set_ylim(0, 102)
    axes.set_ylabel("battery, %")
    if any(course.charging):
        axes.legend(frameon=False, loc="upper right")


def _draw_heat(axes: Axes, courses: Mapping[str, Course], throttle_c: float, scale_s: float) -> None:
    """The temperature of each course, and where the chip becomes slower."""
    for turn, course in enumerate(courses.values()):
        degrees = [found or 0.0 for found in course.temperatures_c]
        _draw_line(axes, turn, [time_s / scale_s for time_s in course.times_s], degrees)
    axes.axhline(throttle_c, color="#666666", linewidth=1, linestyle=":", label="slower from here")
    axes.set_ylabel("chip, °C")
    axes.legend(frameon=False, loc="best")


def _draw_line(axes: Axes, turn: int, times: Sequence[float], values: Sequence[float]) -> None:
    axes.plot(times, values, color=COLORS[turn], linewidth=WIDTHS[turn])
    axes.grid(axis="y", color=PALE, linewidth=0.8)
