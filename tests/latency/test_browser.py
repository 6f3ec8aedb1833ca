"""Real headless Chromium times networks, says what is wrong, and leaves nothing behind."""

import gc
import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from typing import Any, ClassVar
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import psutil
import pytest

from nas.errors import TargetError
from nas.graph import Graph
from nas.latency import measure_exits
from nas.latency.browser import BrowserTarget
from nas.latency.onnxruntime_web import FILES, VERSION
from nas.latency.protocol import read_message
from nas.latency.timing import Timing
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from nas.onnx import onnx_model, random_weights

IMAGE = {"x": np.zeros((1, 3, 16, 16), np.uint8)}
CHROMIUM = shutil.which("chromium")

in_chromium = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH"),
]


def network() -> Graph:
    """Two exits."""
    net = Net(lambda name, options: options[0])

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(conv_norm_act(x, 8, kernel_size=3)), 10)

    x = conv_norm_act(net.input((3, 16, 16)), 8, kernel_size=3)
    net.exit(head, x)
    x = conv_norm_act(x, 16, kernel_size=3)
    net.exit(head, x)
    return net.graph()


MODEL = onnx_model(network(), random_weights(network()))


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserTarget]:
    with BrowserTarget() as target:
        yield target


def here(target: BrowserTarget) -> str:
    """The page's address as a program on this machine may call it."""
    parts = urlsplit(target.url)
    return parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()


def browsers() -> set[psutil.Process]:
    """Browsers that this process has started and that still run."""
    return {child for child in psutil.Process().children() if "--headless=new" in child.cmdline()}


def profile(process: psutil.Process) -> Path:
    flag = "--user-data-dir="
    return next(Path(part.removeprefix(flag)) for part in process.cmdline() if part.startswith(flag))


def test_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match="must be chromium, google-chrome, firefox or open, but got 'lynx'"):
        BrowserTarget("lynx")
    with pytest.raises(TargetError, match="threads must be at least 1, but got 0"):
        BrowserTarget(threads=0)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TargetError, match="google-chrome must be installed, but is not on PATH"):
        BrowserTarget("google-chrome").measure(MODEL, IMAGE)


class TestWhatAPageAnswers:
    """A page that is played here, in Python."""

    PAGE: ClassVar = {"browser": "Browser 1", "machine": "Phone", "runtime": "web 1", "isolated": False}
    TIMING: ClassVar = {"rounds_s": [[[0.5]]], "reference_s": [0.25], "floor_s": 0.25}

    @pytest.fixture(autouse=True)
    def runtime(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in FILES:
            (tmp_path / name).touch()
        monkeypatch.setenv("NAS_ORT_WEB", str(tmp_path))

    @staticmethod
    def asked(target: BrowserTarget, answer: Mapping[str, Any]) -> Timing:
        """What the target makes of an answer."""
        url = here(target)
        with ThreadPoolExecutor() as pool:
            timing = pool.submit(target.time, (b"model",), IMAGE, seconds=0.1)
            with urlopen(f"{url}job") as response:
                job = read_message(response)
            result = {**answer, "number": job.fields["number"]}
            urlopen(f"{url}result", json.dumps(result).encode()).close()
            return timing.result()

    def test_times_and_who_took_them(self) -> None:
        with BrowserTarget("open") as target:
            timing = self.asked(target, {**self.PAGE, "timing": self.TIMING})
            assert timing.latency().p50_ms == 500
            assert timing.target == target.identity == "Phone, Browser 1, web 1, threads 1"

    def test_only_the_first_line_of_a_reason(self) -> None:
        with (
            BrowserTarget("open") as target,
            pytest.raises(TargetError, match=r"but got: no model; write both for one graph$"),
        ):
            self.asked(target, {**self.PAGE, "error": "no model\nat line 1"})

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"timing": None},
            {"timing": {**TIMING, "rounds_s": [[[0.5, 0.5]]]}},
            {"timing": {**TIMING, "rounds_s": [[[-1.0]]]}},
            {"timing": {**TIMING, "floor_s": 0}},
        ],
        ids=["none", "null", "models", "negative", "floor"],
    )
    def test_times_that_are_none(self, answer: Mapping[str, Any]) -> None:
        with (
            BrowserTarget("open") as target,
            pytest.raises(TargetError, match="must answer with the times of each model, but did not"),
        ):
            self.asked(target, {**self.PAGE, **answer})

    def test_threads_need_an_isolated_page(self) -> None:
        with BrowserTarget("open", threads=2) as target:
            with pytest.raises(TargetError, match="threads must be 1 in a page from another machine"):
                self.asked(target, {**self.PAGE, "timing": self.TIMING})
            isolated = {**self.PAGE, "isolated": True, "timing": self.TIMING}
            assert self.asked(target, isolated).target.endswith("threads 2")

    def test_another_page_than_before(self) -> None:
        with BrowserTarget("open") as target:
            self.asked(target, {**self.PAGE, "timing": self.TIMING})
            with pytest.raises(TargetError, match=r"must stay in the browser .* is now in: Tablet"):
                self.asked(target, {**self.PAGE, "machine": "Tablet", "timing": self.TIMING})


class TestInChromium:
    pytestmark = in_chromium

    def test_identity_says_machine_browser_runtime_and_threads(self, browser: BrowserTarget) -> None:
        assert f", onnxruntime-web {VERSION} wasm, threads 1" in browser.identity
        assert ", Chromium " in browser.identity
        with BrowserTarget(threads=2) as two:
            assert two.measure(MODEL, IMAGE, seconds=0.1).target == two.identity
            assert two.identity == browser.identity.replace("threads 1", "threads 2")

    def test_segments_run_one_after_another(self, browser: BrowserTarget) -> None:
        timing = browser.time((MODEL, MODEL), IMAGE, seconds=0.2)
        assert timing.rounds[0].shape[1] == 2
        assert len(timing.rounds) == len(timing.reference_s)
        assert timing.floor_s <= min(timing.reference_s)
        exits = measure_exits(browser, network(), seconds=0.5)
        assert [latency.target for latency in exits] == [browser.identity] * 2

    def test_after_a_model_that_is_none_the_next_is_measured(self, browser: BrowserTarget) -> None:
        with pytest.raises(TargetError, match=f"a model must run in {browser.identity}") as caught:
            browser.measure(b"not ONNX", IMAGE)
        assert "\n" not in str(caught.value)
        assert browser.measure(MODEL, IMAGE, seconds=0.1).runs > 0

    def test_a_browser_that_is_killed(self) -> None:
        with BrowserTarget() as target:
            others = browsers()
            identity = target.identity
            (process,) = browsers() - others
            Timer(1.0, process.kill).start()
            with pytest.raises(TargetError, match="must stay open until a measurement ends, but ended with"):
                target.time((MODEL,), IMAGE, seconds=60.0)
            assert target.measure(MODEL, IMAGE, seconds=0.1).target == identity

    @pytest.mark.parametrize("closes", [True, False], ids=["closed", "forgotten"])
    def test_nothing_is_left(self, closes: bool) -> None:
        target = BrowserTarget()
        others = browsers()
        assert target.identity
        (process,) = browsers() - others
        folder = profile(process)
        assert folder.exists()
        if closes:
            target.close()
        del target
        gc.collect()
        assert not process.is_running()
        assert not folder.exists()

    def test_a_page_that_the_user_opens(self, tmp_path: Path) -> None:
        with BrowserTarget("open") as target:
            call = [str(CHROMIUM), "--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path}"]
            with subprocess.Popen([*call, here(target)], stderr=subprocess.DEVNULL) as process:
                try:
                    assert target.measure(MODEL, IMAGE, seconds=0.1).runs > 0
                    assert target.identity.endswith(f"onnxruntime-web {VERSION} wasm, threads 1")
                finally:
                    process.terminate()
