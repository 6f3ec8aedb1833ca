"""Write nas/latency/reference.onnx, the network that targets time beside every other.

It never changes: times of targets are compared by it. It has the common kinds of layers, takes some tenths of
a millisecond on a laptop, and its weights are random.
"""

from __future__ import annotations

from pathlib import Path

from nas import Feature, Net
from nas.layers import conv_norm_act, global_avg_pool, linear
from nas.onnx import onnx_model, random_weights

PATH = Path(__file__).parents[1] / "nas" / "latency" / "reference.onnx"


def reference() -> bytes:
    net = Net(lambda name, options: options[0])
    x = conv_norm_act(net.input((3, 32, 32)), 16, kernel_size=3, stride=2, name="stem")
    for position, (width, stride) in enumerate([(24, 1), (24, 1), (32, 2), (32, 1)]):
        with net.scope(f"block{position}"):
            y = conv_norm_act(x, 2 * x.channels, name="expand")
            y = conv_norm_act(
                y, y.channels, kernel_size=3, stride=stride, groups=y.channels, name="depthwise"
            )
            y = conv_norm_act(y, width, act=None, name="project")
            x = x + y if y.shape == x.shape else y
    x = conv_norm_act(x, 48, kernel_size=3, name="last")

    def head(x: Feature) -> Feature:
        return linear(global_avg_pool(x), 10)

    net.exit(head, x)
    graph = net.graph()
    return onnx_model(graph, random_weights(graph))


if __name__ == "__main__":
    PATH.write_bytes(reference())
