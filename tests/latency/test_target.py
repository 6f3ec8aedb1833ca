"""What every target must do, whatever machine or runtime it stands for."""

import numpy as np
import pytest

from nas.errors import TargetError
from nas.latency import Target
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.net import Feature, Net
from nas.onnx import onnx_model, random_weights

IMAGE = np.zeros((1, 3, 8, 8), np.uint8)


def network() -> bytes:
    net = Net(lambda name, options: options[0])
    x = conv_norm_act(net.input((3, 8, 8)), 4, kernel_size=3)

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(conv_norm_act(x, 4, kernel_size=3)), 10)

    net.exit(head, x)
    return onnx_model(net.graph(), random_weights(net.graph()))


def test_latency_is_consistent(target: Target) -> None:
    latency = target.measure(network(), {"x": IMAGE}, seconds=0.02)
    assert 0 < latency.p50_ms <= latency.p95_ms
    assert latency.spread >= 0
    assert latency.runs >= 10
    assert latency.target == target.identity


@pytest.mark.parametrize("model", [b"", b"not ONNX", network()[:200]], ids=["empty", "text", "cut"])
def test_bytes_that_are_no_model(target: Target, model: bytes) -> None:
    with pytest.raises(TargetError, match="a model must run"):
        target.measure(model, {"x": IMAGE})


@pytest.mark.parametrize(
    "inputs",
    [{}, {"picture": IMAGE}, {"x": IMAGE[:, :1]}, {"x": IMAGE.astype(np.float32)}],
    ids=["none", "name", "shape", "type"],
)
def test_inputs_that_do_not_fit(target: Target, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(TargetError, match="on the inputs given"):
        target.measure(network(), inputs)
