"""FBNet's search space as HW-NAS-Bench measured it for CIFAR-100, to predict that table's latencies.

Wu et al., https://arxiv.org/abs/1812.03443; Li et al., https://arxiv.org/abs/2103.10584. Its parameter counts
equal those of the table, network by network.
"""

from __future__ import annotations

from nas import Feature, Net, SearchSpace, Shape, block
from nas.layers import channel_shuffle, conv_norm_act, global_avg_pool, linear

__all__ = ["OPS", "build", "space"]

OPS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
"""Kernel size, expansion ratio and groups of a block, in the order of the table's numbers."""
STAGES = ((1, 16, 1), (4, 24, 1), (4, 32, 2), (4, 64, 2), (4, 112, 1), (4, 184, 2), (1, 352, 1))
"""Blocks, channels and the stride of the first block."""
STEM_CHANNELS, LAST_CHANNELS = 16, 1504


@block
def fbnet_block(
    x: Feature,
    out_channels: int,
    *,
    kernel_size: int,
    expand_ratio: int,
    groups: int,
    stride: int,
    name: str = "fbnet_block",
) -> Feature:
    """Pointwise, depthwise, pointwise; the first in groups, between which channels are shuffled then."""
    hidden = x.channels * expand_ratio
    y = conv_norm_act(x, hidden, groups=groups, name="expand")
    y = channel_shuffle(y, groups) if groups > 1 else y
    y = conv_norm_act(y, hidden, kernel_size=kernel_size, stride=stride, groups=hidden, name="depthwise")
    y = conv_norm_act(y, out_channels, groups=groups, act=None, name="project")
    return x + y if y.shape == x.shape else y


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 100) -> None:
    x = conv_norm_act(net.input(input_shape), STEM_CHANNELS, kernel_size=3, name="stem")
    number = 0
    for count, channels, first_stride in STAGES:
        for place in range(count):
            op, stride = net.choice(f"op{number:02}", *OPS), first_stride if place == 0 else 1
            number += 1
            if op != "skip":
                kernel, expansion, *groups = (int(part[1:]) for part in op.split("_"))
                x = fbnet_block(
                    x,
                    channels,
                    kernel_size=kernel,
                    expand_ratio=expansion,
                    groups=groups[0] if groups else 1,
                    stride=stride,
                )
            elif (stride, channels) != (1, x.channels):
                x = conv_norm_act(x, channels, stride=stride, name="skip")
    x = conv_norm_act(x, LAST_CHANNELS, name="last")
    net.exit(classifier, x, num_classes=num_classes)


def classifier(x: Feature, *, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


space = SearchSpace(build)
