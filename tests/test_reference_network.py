"""The reference network that ships is the one that its script describes."""

import runpy
from pathlib import Path

import numpy as np
import onnxruntime

from nas.latency.local import reference_model

SCRIPT = Path(__file__).parents[1] / "scripts" / "reference_network.py"


def test_it_is_what_its_script_makes() -> None:
    assert runpy.run_path(str(SCRIPT))["reference"]() == reference_model()


def test_it_runs() -> None:
    session = onnxruntime.InferenceSession(reference_model(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), np.uint8)
    (logits,) = session.run(["logits"], {"x": image})
    assert logits.shape == (1, 10)
    assert np.isfinite(logits).all()
    assert np.ptp(logits) > 0
