"""The page in real headless Chromium: it answers as the runtime does; dial, governor and keys work."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nas.bundle import Bundle
from nas.data import Data, load_data
from nas.export import export
from nas.graph import Graph
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.runtime import BatteryBands, Governor, Signals
from nas.train import TrainConfig, fit
from nas.web import serve
from nas.web.comparison import compare
from nas.web.devtools import DevTools

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not on PATH"),
]
IMAGES, TOLERANCE = 100, 1e-4
END, HOME, LEFT, RIGHT = ("End", 35), ("Home", 36), ("ArrowLeft", 37), ("ArrowRight", 39)
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


def network(width: int) -> Graph:
    """For digits, with three exits."""
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(conv_norm_act(x, 16)), 10)

    x = net.input((1, 8, 8))
    for stage in range(3):
        x = conv_norm_act(x, width << stage, kernel_size=3, stride=1 + (stage == 1))
        net.exit(head, x)
    return net.graph()


@pytest.fixture(scope="module")
def data() -> Data:
    return load_data("digits")


@pytest.fixture(scope="module")
def digits(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    models = {name: Model(network(width)) for name, width in (("small", 4), ("large", 8))}
    for model in models.values():
        fit(model, data, TrainConfig(epochs=3))
    return export(models, tmp_path_factory.mktemp("page") / "bundle", data=data)


@pytest.fixture(scope="module")
def page(digits: Bundle, data: Data) -> Iterator[DevTools]:
    assert digits.path is not None
    samples = data.x_test[:30], data.y_test[:30]
    with serve(digits.path, port=0, samples=samples) as server, DevTools(*FAKE_CAMERA) as page:
        page.open(server.url)
        page.wait_for("document.getElementById('sure').textContent.endsWith('sure')")
        yield page
        origins = {urlsplit(url)[:2] for url in page.requested if not url.startswith("data:")}
        assert origins == {("http", urlsplit(server.url).netloc)}
        assert not page.complaints


def text(page: DevTools, name: str) -> str:
    return str(page.evaluate(f"document.getElementById('{name}').textContent"))


def click(page: DevTools, selector: str) -> None:
    page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def wait_for_level(page: DevTools, level: int) -> None:
    page.wait_for(f"document.getElementById('level-name').textContent === 'Level {level}'")


def set_charge(page: DevTools, percent: int) -> None:
    slider = f"Object.assign(document.getElementById('charge'), {{ value: {percent} }})"
    page.evaluate(f"{slider}.dispatchEvent(new Event('input'))")


def test_it_loads_and_says_what_it_is(page: DevTools, digits: Bundle) -> None:
    assert text(page, "about") == f"{len(digits.levels)} levels of 2 networks, 10 classes"
    assert page.evaluate("document.getElementById('error').hidden")
    assert page.evaluate("document.querySelectorAll('#samples button').length") == 20
    assert "bundle/bundle.json" in " ".join(page.requested)
    assert not page.complaints


def test_answers_are_those_of_the_runtime(page: DevTools, digits: Bundle, data: Data) -> None:
    compared = list(compare(page, digits, data.x_test[:IMAGES]))
    assert len(compared) == IMAGES * len(digits.levels)
    assert all(each.equal for each in compared)
    assert max(each.difference for each in compared) <= TOLERANCE


def test_keys_turn_the_dial(page: DevTools, digits: Bundle) -> None:
    top = len(digits.levels) - 1
    page.evaluate("document.getElementById('level').focus()")
    for (key, code), level in ((HOME, 0), (RIGHT, 1), (RIGHT, 2), (LEFT, 1), (END, top), (LEFT, top - 1)):
        page.press(key, code)
        wait_for_level(page, level)
        told = page.evaluate("document.getElementById('level').getAttribute('aria-valuetext')")
        assert told.startswith(f"level {level}, accuracy {100 * digits.levels[level].accuracy:.1f} %")
        exit = digits.levels[level].exit
        page.wait_for(f"document.getElementById('path-note').textContent.startsWith('Exit {exit} answered')")
    page.press("Tab", 9)
    page.press("Tab", 9)
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(f"document.activeElement.id !== 'level' && {outline}") == "solid"


def test_the_governor_turns_the_dial(page: DevTools, digits: Bundle) -> None:
    page.press(*END)
    click(page, "input[value=automatic]")
    governor = Governor(digits.levels, BatteryBands(), dwell_s=2)
    time_s = 0.0
    for percent in (100, 5, 48, 95):
        time_s += 10
        set_charge(page, percent)
        governor = governor.step(Signals(battery_ratio=percent / 100, charging=False, time_s=time_s))
        wait_for_level(page, governor.level)
        if governor.switched:
            assert text(page, "switch") == governor.reason.replace("->", "→")
        page.wait_for(f"document.getElementById('reason').textContent.includes('{percent} %: level')")
    set_charge(page, 5)
    wait_for_level(page, 0)
    click(page, "#charging")
    wait_for_level(page, governor.dial[-1] if governor.dial else -1)
    assert text(page, "switch").startswith("charging: level 0 → ")
    page.evaluate("document.getElementById('level').focus()")
    page.press(*HOME)
    assert page.evaluate("document.querySelector('input[value=hand]').checked")
    assert "by hand" in text(page, "reason")


def test_nothing_jumps_when_the_dial_turns(page: DevTools, digits: Bundle) -> None:
    page.evaluate("""{
        globalThis.shifts = [];
        const take = (list) => list.getEntries().forEach(({ value }) => shifts.push(value));
        new PerformanceObserver(take).observe({ type: "layout-shift" });
    }""")
    page.evaluate("document.getElementById('level').focus()")
    page.press(*HOME)
    for level in range(1, len(digits.levels)):
        page.press(*RIGHT)
        wait_for_level(page, level)
        click(page, f"#samples button:nth-child({level + 1})")
        page.evaluate("new Promise((resolve) => setTimeout(resolve, 400))")
    assert sum(page.evaluate("shifts")) < 0.001


def test_samples_drawing_and_camera(page: DevTools, data: Data) -> None:
    click(page, "#samples button:nth-child(3)")
    page.wait_for(
        f"document.getElementById('truth').textContent === 'labelled {data.classes[data.y_test[2]]}'"
    )
    seen = "document.getElementById('seen').toDataURL()"
    before = page.evaluate(seen)
    page.evaluate("document.getElementById('pad').scrollIntoView()")
    box = page.evaluate("document.getElementById('pad').getBoundingClientRect().toJSON()")
    middle = box["x"] + box["width"] / 2
    for kind, part in (("mousePressed", 0.2), ("mouseMoved", 0.5), ("mouseReleased", 0.8)):
        y = box["y"] + part * box["height"]
        page.call(
            "Input.dispatchMouseEvent", type=kind, x=middle, y=y, button="left", buttons=1, clickCount=1
        )
    page.wait_for(f"{seen} !== {json.dumps(before)}")
    page.wait_for("document.getElementById('truth').textContent === ''")
    page.wait_for("document.getElementById('class-name').textContent === '1'")
    drawn = page.evaluate(seen)
    click(page, "#camera")
    page.wait_for("document.getElementById('camera').getAttribute('aria-pressed') === 'true'")
    page.wait_for(f"{seen} !== {json.dumps(drawn)}")
    click(page, "#clear")
    page.wait_for("document.getElementById('camera').getAttribute('aria-pressed') === 'false'")
    assert not page.evaluate("document.getElementById('hint').hidden")


def test_an_image_of_another_size(page: DevTools) -> None:
    page.evaluate("""new Promise(async (resolve) => {
        const image = new OffscreenCanvas(40, 20);
        const context = image.getContext("2d");
        context.fillStyle = "rgb(80 80 80)";
        context.fillRect(0, 0, 40, 20);
        const files = new DataTransfer();
        files.items.add(new File([await image.convertToBlob()], "image.png", { type: "image/png" }));
        document.getElementById("file").files = files.files;
        document.getElementById("file").dispatchEvent(new Event("change"));
        resolve();
    })""")
    colours = "[...document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 8).data]"
    page.wait_for(f"{colours}.every((value, place) => value === (place % 4 === 3 ? 255 : 80))")
    page.evaluate("""{
        const files = new DataTransfer();
        files.items.add(new File(["text"], "notes.txt", { type: "text/plain" }));
        document.getElementById("file").files = files.files;
        document.getElementById("file").dispatchEvent(new Event("change"));
    }""")
    page.wait_for(
        "document.getElementById('input-note').textContent.startsWith('notes.txt must be an image')"
    )


def test_a_pause_stops_all(page: DevTools) -> None:
    chart = "document.querySelector('#chart .line').getAttribute('d')"
    before = page.evaluate(chart)
    page.wait_for(f"{chart} !== {json.dumps(before)}")
    click(page, "#pause")
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 500))")
    still = page.evaluate(chart)
    page.evaluate("new Promise((resolve) => setTimeout(resolve, 700))")
    assert page.evaluate(chart) == still
    click(page, "#pause")
    page.wait_for(f"{chart} !== {json.dumps(still)}")


@pytest.mark.parametrize("width", [320, 360, 720, 1280])
def test_nothing_is_cut_off(page: DevTools, tmp_path: Path, width: int) -> None:
    page.screenshot(tmp_path / "page.png", width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = """[...document.querySelectorAll("main *")].filter((each) => {
        const box = each.getBoundingClientRect();
        return !each.closest(".hidden, #samples, .bars i, .modes input") && box.right > innerWidth + 0.5;
    }).map((each) => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(cut) == []
    assert page.evaluate(
        "[...document.querySelectorAll('.facts dd')].every((e) => e.scrollWidth <= e.clientWidth)"
    )
