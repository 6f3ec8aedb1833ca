"""Holds what the page answers against what `nas.runtime` does, image by image and level by level."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from nas.bundle import Bundle
from nas.runtime import Runtime
from nas.web.devtools import DevTools

__all__ = ["Compared", "answers_of", "compare"]

_RUN = """(async () => {{
  const ort = await import(new URL("ort/ort.wasm.min.mjs", document.baseURI));
  const {{ Bundle }} = await import(new URL("bundle.js", document.baseURI));
  ort.env.wasm.numThreads = 1;
  globalThis.compared ??= await Bundle.load("bundle", ort);
  const answers = [];
  for (const image of {images}) {{
    const pixels = Uint8Array.from(atob(image), (letter) => letter.charCodeAt(0));
    const answer = await compared.run(pixels, {level});
    const lists = {{ logits: [...answer.logits], probabilities: [...answer.probabilities] }};
    answers.push({{ ...answer, ...lists }});
  }}
  return answers;
}})()"""


@final
@dataclass(frozen=True, kw_only=True)
class Compared:
    """One image at one level: whether class and exit are the same, and by how much logits differ."""

    image: int
    level: int
    equal: bool
    difference: float


def answers_of(page: DevTools, images: NDArray[np.uint8], level: int) -> list[dict[str, Any]]:
    """What bundle.js answers to each image, in a page that `serve` serves."""
    encoded = [base64.b64encode(image.tobytes()).decode() for image in images]
    answers: list[dict[str, Any]] = page.evaluate(_RUN.format(images=json.dumps(encoded), level=level))
    return answers


def compare(page: DevTools, bundle: Bundle, images: NDArray[np.uint8]) -> Iterator[Compared]:
    """Each image at each level, in the page and here."""
    runtime = Runtime(bundle)
    for level in range(len(bundle.levels)):
        for number, found in enumerate(answers_of(page, images, level)):
            expected = runtime.run(images[number], level)
            same = (found["label"], found["exit"]) == (expected.labels[0], expected.exits[0])
            differences = np.abs(np.array(found["logits"]) - expected.logits[0])
            yield Compared(image=number, level=level, equal=bool(same), difference=float(differences.max()))
