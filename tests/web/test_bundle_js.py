"""The rules of `nas.runtime` in bundle.js, in real headless Chromium: read-outs, thresholds, going on."""

import json
import shutil
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import numpy as np
import pytest

from nas.bundle import Bundle, Level, Readout, write_bundle
from nas.export.entries import model_entry
from nas.graph import Graph
from nas.model import Model
from nas.runtime import Runtime
from nas.web import serve
from nas.web.comparison import answers_of, compare
from nas.web.devtools import DevTools
from search_spaces.mixed import space

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not on PATH"),
]
TOLERANCE = 1e-4
READOUTS = {
    "plain": Readout(temperatures=(0.5, 2.0, 1.0)),
    "margin": Readout(confidence="margin"),
    "patient": Readout(confidence="patience"),
    "boosted": Readout(combine="sum", confidence="entropy"),
    "monotone": Readout(combine="product", temperatures=(0.5, 2.0, 1.0)),
    "ensemble": Readout(combine="mean", temperatures=(0.5, 2.0, 1.0)),
}


def sampled(exits: int) -> Graph:
    """A network of `mixed` with so many exits."""
    rng, small = Random(0), space.at((3, 12, 12), 4)
    graphs = (small.graph(small.sample(rng)) for _ in count())
    return next(graph for graph in graphs if len(graph.exits) == exits)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Networks with random weights for all read-outs, and levels that stop by themselves."""
    entries = [model_entry(name, Model(sampled(3)), readout) for name, readout in READOUTS.items()]
    levels = [
        Level(model=name, exit=exit, accuracy=(3 * exit + len(name)) / 20, macs=0, thresholds=thresholds)
        for name in READOUTS
        for exit, thresholds in (
            (0, None),
            (1, None),
            (2, None),
            (2, (0.4, 2.0)),
            (2, (0.45, 0.3)),
            (2, (0, 0)),
        )
    ]
    value = Bundle(
        input_shape=(3, 12, 12),
        classes=("a", "b", "c", "d"),
        models=tuple(entry.model for entry in entries),
        levels=tuple(levels),
    )
    files = {name: content for entry in entries for name, content in entry.files.items()}
    return write_bundle(tmp_path_factory.mktemp("rules") / "bundle", value, files)


ORT = "await import(new URL('ort/ort.wasm.min.mjs', document.baseURI))"
RESUME = """(async () => {{
  const {{ images, walk }} = {asked};
  const found = [];
  for (const image of images) {{
    const pixels = Uint8Array.from(image);
    const progress = await compared.start(pixels, walk[0]);
    pixels.fill(0);
    const next = [progress.nextLevel];
    for (const level of walk.slice(1)) {{
      await progress.resume(level);
      next.push(progress.nextLevel);
    }}
    const logits = (answer) => [...answer.logits];
    const best = progress.bestSoFar();
    found.push([logits(progress.answer), logits(best), best.exit, progress.executed, next]);
  }}
  return found;
}})()"""


@pytest.fixture(scope="module")
def answering(rules: Bundle) -> Iterator[DevTools]:
    assert rules.path is not None
    with serve(rules.path, port=0) as server, DevTools() as page:
        page.open(server.url)
        yield page
        assert not page.complaints


class TestRules:
    def images(self) -> Any:
        return np.random.default_rng(0).integers(0, 256, (8, 3, 12, 12), np.uint8)

    def test_read_outs_and_thresholds(self, answering: DevTools, rules: Bundle) -> None:
        compared = list(compare(answering, rules, self.images()))
        assert all(each.equal for each in compared)
        assert max(each.difference for each in compared) <= TOLERANCE
        runtime, stopped = Runtime(rules), set()
        for level in range(len(rules.levels)):
            found = answers_of(answering, self.images()[:2], level)
            for image, answer in zip(self.images()[:2], found, strict=True):
                expected = runtime.run(image, level)
                progress = runtime.start(image, level)
                np.testing.assert_allclose(answer["probabilities"], expected.probabilities[0], atol=TOLERANCE)
                assert answer["confidence"] == pytest.approx(expected.confidence[0], abs=TOLERANCE)
                assert (answer["className"],) == expected.classes
                assert tuple(answer["executed"]) == progress.executed
                stopped.add((rules.levels[level].thresholds, answer["exit"]))
        assert len(stopped) > 6

    @pytest.mark.parametrize("first", range(0, 6 * len(READOUTS), 6), ids=list(READOUTS))
    def test_going_on_reuses_features(self, answering: DevTools, rules: Bundle, first: int) -> None:
        answers_of(answering, self.images()[:1], 0)
        walk = [first, first + 4, first + 2, first, (first + 7) % (6 * len(READOUTS)), first + 1]
        asked = {"images": self.images().reshape(8, -1).tolist(), "walk": walk}
        found = answering.evaluate(RESUME.format(asked=json.dumps(asked)))
        runtime = Runtime(rules)
        for image, (logits, best, exit, executed, following) in zip(self.images(), found, strict=True):
            progress = runtime.start(image, walk[0])
            expected = [progress.next_level]
            for level in walk[1:]:
                progress.resume(level)
                expected.append(progress.next_level)
            np.testing.assert_allclose(logits, progress.answer.logits[0], atol=TOLERANCE)
            np.testing.assert_allclose(best, progress.best_so_far().logits[0], atol=TOLERANCE)
            assert exit == progress.best_so_far().exits[0]
            assert tuple(executed) == progress.executed
            assert following == expected

    def test_only_what_a_level_needs_is_loaded(self, answering: DevTools, rules: Bundle) -> None:
        answers_of(answering, self.images()[:1], 0)
        for level in range(len(rules.levels)):
            runtime = Runtime(rules)
            runtime.prepare(level)
            fresh = f"const fresh = await compared.constructor.load('bundle', {ORT})"
            prepared = f"(async () => {{ {fresh}; await fresh.prepare({level}); return fresh.loaded; }})()"
            assert tuple(answering.evaluate(prepared)) == runtime.loaded

    def test_what_is_wrong(self, answering: DevTools, rules: Bundle) -> None:
        answers_of(answering, self.images()[:1], 0)
        last = len(rules.levels) - 1
        for call, rule in {
            "compared.run(new Uint8Array(3 * 12 * 12), 99)": f"level must be from 0 to {last}, but got 99",
            "compared.run(new Uint8Array(5), 0)": "pixels must be a Uint8Array of 432 raw bytes",
            "compared.run(new Float32Array(432), 0)": "but got Float32Array",
            "compared.run(new Uint8Array(432), { model: 'plain', exit: 7 })": "one of the 3 exits of plain",
            "compared.constructor.load('nowhere', {})": "bundle.json must be at",
        }.items():
            told = answering.evaluate(f"{call}.then(() => '', (error) => error.message)")
            assert rule in told
        damaged = """(async () => {
            const { Bundle } = await import(new URL("bundle.js", document.baseURI));
            const ort = await import(new URL("ort/ort.wasm.min.mjs", document.baseURI));
            const bundle = await Bundle.load("bundle", ort);
            const fetched = globalThis.fetch;
            globalThis.fetch = async (url) => {
                const bytes = new Uint8Array(await (await fetched(url)).arrayBuffer());
                return new Response(bytes.fill(0, 9, 10));
            };
            try {
                await bundle.run(new Uint8Array(432), 0);
            } catch (error) {
                return error.message;
            } finally {
                globalThis.fetch = fetched;
            }
        })()"""
        assert "must have the sha256 that bundle.json gives" in answering.evaluate(damaged)
        answering.events.clear()  # the 404 of nowhere is on the console
