"""Holds that the page shows what was found, whole and safely, and that the plots show the same points."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nas.bundle import Bundle, BundleModel, Latency, Level
from nas.report import write_report
from nas.report.plots import draw_curves, draw_scatter
from nas.report.points import Point, Scatter, exit_curves, front_points, level_points
from nas.search import Maximize, Minimize, Settings, StudyRecord, Trial
from nas.space import Architecture

VOID = {"img", "meta"}


class Page(HTMLParser):
    """The texts, images and tags of a page; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def make_record(*, space: str = "a:b", trials: int = 30) -> StudyRecord:
    rng = np.random.default_rng(0)
    settings = Settings(
        space=space,
        input_shape=(1, 8, 8),
        num_classes=2,
        objectives=(Maximize("accuracy"), Minimize("macs")),
        budget="macs<=2M",
        sampler="tpe",
        seed=0,
    )
    found = []
    for number in range(trials):
        architecture = Architecture(space, (), (1, 8, 8), 2, f"{number:032x}")
        macs, accuracy = float(rng.integers(10**4, 4 * 10**6)), float(rng.uniform(0.1, 1))
        if macs > 2e6:
            found.append(Trial(number, architecture, "infeasible", {"macs": macs}, "macs<=2M", ("macs",)))
        else:
            found.append(Trial(number, architecture, "complete", {"macs": macs, "accuracy": accuracy}))
    return StudyRecord(settings, tuple(found))


def make_bundle(*, measured: bool = True) -> Bundle:
    rng = np.random.default_rng(1)
    levels = []
    for model in ("net0", "net1"):
        for exit in range(3):
            ms = float(rng.uniform(0.1, 1))
            latency = (
                Latency(p50_ms=ms, p95_ms=2 * ms, spread=0, runs=9, target="chip <1>") if measured else None
            )
            accuracy, macs = float(rng.uniform(0.5, 1)), 1000 * (exit + 1)
            levels.append(Level(model=model, exit=exit, accuracy=accuracy, macs=macs, latency=latency))
    models = tuple(
        BundleModel(name=name, segments=(), exits=3, architecture={}, id="0") for name in ("net0", "net1")
    )
    exits = [level.to_json() | {"test_accuracy": 0.123} for level in levels]
    return Bundle(
        input_shape=(1, 8, 8),
        classes=("a", "b"),
        models=models,
        levels=tuple(levels),
        provenance={"exits": exits},
    )


def test_front_points_are_the_trained_networks_and_the_front() -> None:
    record = make_record()
    points = front_points(record)
    complete = [trial.values for trial in record.trials if trial.state == "complete"]
    expected = sorted((values["macs"], values["accuracy"]) for values in complete)
    np.testing.assert_allclose([(1e6 * point.cost, point.accuracy) for point in points.all], expected)
    for point in points.all:
        beaten = any(
            other != point and other.cost <= point.cost and other.accuracy >= point.accuracy
            for other in points.all
        )
        assert beaten != (point in points.best)


def test_points_of_levels_and_curves_of_exits() -> None:
    bundle = make_bundle()
    points = level_points(bundle)
    assert len(points.all) == 6
    costs, accuracies = zip(*points.best, strict=True)
    assert list(costs) == sorted(costs)
    assert list(accuracies) == sorted(accuracies)
    assert max(points.all, key=lambda point: point.accuracy) in points.best
    curves = exit_curves(bundle)
    assert [len(curve) for curve in curves.values()] == [3, 3]
    assert curves == exit_curves(replace(bundle, provenance={}))
    assert level_points(make_bundle(measured=False)) == Scatter((), ())


def test_plots_show_every_point_once() -> None:
    points = tuple(Point(10.0**power, 0.1 * power) for power in range(4))
    (axes,) = draw_scatter(Scatter(points, points[2:]), cost="ms", names=("all", "best"), joined=True).axes
    light, dark = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(light, [(1, 0), (10, 10)])
    np.testing.assert_allclose(dark, [(100, 20), (1000, 30)])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("ms", "validation accuracy, %")
    (axes,) = draw_curves({"net0": points, "net1": points[:2]}, cost="MACs").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["net0", "net1"]


@pytest.mark.parametrize("trials", [0, 1, 30])
@pytest.mark.parametrize("bundle", [None, make_bundle(), make_bundle(measured=False)])
def test_a_page_is_whole(tmp_path: Path, trials: int, bundle: Bundle | None) -> None:
    page = Page(
        write_report(tmp_path / "new", make_record(trials=trials), bundle).read_text(encoding="utf-8")
    )
    assert {*page.images, "index.html"} == {file.name for file in (tmp_path / "new").iterdir()}
    assert all((tmp_path / "new" / str(image)).read_bytes().startswith(b"\x89PNG") for image in page.images)


def test_what_is_shown_cannot_become_code(tmp_path: Path) -> None:
    path = write_report(tmp_path, make_record(space="<script>alert(1)</script>:b"), make_bundle())
    page = Page(path.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert any("<script>alert(1)</script>:b" in text for text in page.texts)
    assert any("chip <1>" in text for text in page.texts)
    assert "0.1230" in page.texts  # accuracy on the test images
