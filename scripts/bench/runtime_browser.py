"""What the page of a bundle answers in a browser, held against what the runtime answers here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import sleep

import torch
from record import Record, Row

from nas.bundle import Bundle
from nas.data import Data, load_data
from nas.export import ExportConfig, export
from nas.graph import Graph
from nas.latency import DeclaredEnergy, LocalTarget
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.model import Model
from nas.net import Feature, Net
from nas.train import TrainConfig, fit
from nas.web import serve
from nas.web.comparison import compare
from nas.web.devtools import DevTools

FILE = "browser.csv"
TOLERANCE = 1e-4
SAMPLES = 20
LOOKS = {  # of the page: width in pixels, colours
    "browser_light.png": (1280, "light"),
    "browser_dark.png": (1280, "dark"),
    "browser_phone.png": (360, "light"),
}
CHARGES = (92, 70, 52, 38, 22, 34, 60)  # percent, a visitor moves the battery to
STAY_S = 2.3  # longer than the page waits between two switches


def collect(record: Record, *, images: int) -> None:
    """One row for each image at each level of a bundle for digits, and pictures of the page."""
    if record.rows(FILE):
        return
    torch.set_num_threads(1)
    data = load_data("digits")
    with tempfile.TemporaryDirectory() as place:
        bundle = _bundle(Path(place, "bundle"), data)
        samples = data.x_test[:SAMPLES], data.y_test[:SAMPLES]
        with serve(Path(place, "bundle"), port=0, samples=samples) as server, DevTools() as page:
            page.open(server.url)
            page.wait_for("document.getElementById('sure').textContent.endsWith('sure')")
            _turn(page)
            for name, (width, scheme) in LOOKS.items():
                page.screenshot(record.raw / name, width=width, scheme=scheme)
            rows = [vars(each) for each in compare(page, bundle, data.x_test[:images])]
    for row in rows:
        record.add(FILE, row)


def _bundle(folder: Path, data: Data) -> Bundle:
    """Two networks with three exits each, trained a little."""
    models = {name: Model(_network(width)) for name, width in (("small", 4), ("large", 8))}
    for model in models.values():
        fit(model, data, TrainConfig(epochs=20))
    energy = DeclaredEnergy.parse("0.2mJ + 2.5W")
    return export(models, folder, data=data, target=LocalTarget(), energy=energy, config=ExportConfig())


def _network(width: int) -> Graph:
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(conv_norm_act(x, 16)), 10)

    x = net.input((1, 8, 8))
    for stage in range(3):
        x = conv_norm_act(x, width << stage, kernel_size=3, stride=1 + (stage == 1))
        net.exit(head, x)
    return net.graph()


def _turn(page: DevTools) -> None:
    """Let the governor choose, and the battery drain and charge."""
    page.evaluate("document.querySelector('input[value=automatic]').click()")
    for percent in CHARGES:
        slider = f"Object.assign(document.getElementById('charge'), {{ value: {percent} }})"
        page.evaluate(f"{slider}.dispatchEvent(new Event('input'))")
        sleep(STAY_S)


def figures(rows: list[Row]) -> dict[str, int]:
    """Answers of another class or exit, or with logits beyond the tolerance, of all."""
    wrong = [row for row in rows if row["equal"] != "True" or not float(row["difference"]) <= TOLERANCE]
    return {"browser_mismatches": len(wrong), "browser_answers": len(rows)}
