"""A small space with conditional choices and twins, of which every network can be trained.

One or two stages; whether a stage asks for width, kernel and shortcut depends on its kind, and many choices
build the same network: a shortcut where shapes differ is none, and a stage of nothing is no stage.
"""

from __future__ import annotations

from nas import Architecture, Net, SearchSpace, Shape
from nas.layers import conv_norm_act, global_avg_pool, linear, max_pool

__all__ = ["build", "code", "space"]


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    x = conv_norm_act(
        net.input(input_shape), net.choice("stem_channels", 4, 8, 16), kernel_size=3, name="stem"
    )
    for number in range(net.choice("stages", 1, 2)):
        with net.scope(f"stage{number}"):
            kind = net.choice("kind", "separable", "full", "none")
            y = x
            if kind != "none":
                channels = x.channels * net.choice("width_ratio", 1, 2)
                if kind == "separable":
                    kernel = net.choice("kernel_size", 3, 5)
                    y = conv_norm_act(y, x.channels, kernel_size=kernel, groups=x.channels, name="depthwise")
                y = conv_norm_act(y, channels, kernel_size=1 if kind == "separable" else 3, name="mix")
                if net.choice("shortcut", False, True) and y.shape == x.shape:
                    y = x + y
            x = max_pool(y, kernel_size=3, stride=2) if net.choice("pool", False, True) else y
    net.exit(lambda x, *, num_classes: linear(global_avg_pool(x), num_classes), x, num_classes=num_classes)


space = SearchSpace(build)


def code(architecture: Architecture) -> str:
    """By what the table knows a network."""
    return architecture.id[:12]
