"""Multi-scale dense networks: layers keep features of several scales, and exits read the coarsest.

Huang et al., https://arxiv.org/abs/1703.09844, in the form of the PyTorch code that its authors point to
(https://github.com/kalviny/MSDNet-PyTorch), whose CIFAR recipe is `msdnet_cifar10`. What no exit needs is
dropped: the finer scales behind the last exit that reads them cost nothing. The convolutions of all layers
may be replaced by depthwise-separable, low-rank or grouped ones.
"""

from __future__ import annotations

import math

from nas import Feature, Net, Option, SearchSpace, Shape, block
from nas.layers import channel_shuffle, concat, conv_norm_act, global_avg_pool, linear
from search_spaces.blocks import depthwise_separable, low_rank_conv

__all__ = ["build", "msdnet_cifar10", "space"]

CONVS = ("standard", "separable", "low_rank", "grouped")
"""What the 3 x 3 convolutions of all layers are: the paper's, or a cheaper block in their place."""
FACTORS = (1, 2, 4, 4)
"""Channels, and widths of bottlenecks, of each scale in terms of the finest."""
GROUPS = 4
"""Of grouped convolutions, where channels divide."""
HEAD_CHANNELS = 128


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    scales = net.choice("scales", 3, 2, 4)
    channels = net.choice("channels", 8, 16, 32)
    growth = net.choice("growth", 4, 6, 12)
    base = net.choice("base", 1, 2, 4)
    growing, step = net.choice("step_mode", "even", "lin_grow") == "lin_grow", net.choice("step", 1, 2)
    further = range(1, net.choice("blocks", 2, 3, 4, 5, 6, 7))
    steps = [base, *(step * block + 1 if growing else step for block in further)]
    head = _official_head if net.choice("head", "official", "light") == "official" else _light_head
    kind = net.choice("conv", *CONVS)
    features = _first_layer(net.input(input_shape), channels, scales)
    interval = math.ceil(sum(steps) / scales)  # layers after which the finest scale is given up
    layer = 0
    for depth in steps:
        for _ in range(depth):
            kept = scales - layer // interval
            narrower = kept < len(features)
            features = _layer(features, growth, scales=scales, kept=kept, kind=kind, name=f"layer{layer}")
            channels += growth
            if narrower:
                channels //= 2
                features = _transition(features, channels, scales=scales, name=f"transition{layer}")
            layer += 1
        net.exit(head, features[-1], num_classes=num_classes)


@block
def _first_layer(x: Feature, channels: int, scales: int, *, name: str = "first") -> tuple[Feature, ...]:
    """The image at every scale: one convolution each, every further one at stride 2."""
    features: list[Feature] = []
    for factor in FACTORS[:scales]:
        x = conv_norm_act(x, channels * factor, kernel_size=3, stride=2 if features else 1)
        features.append(x)
    return tuple(features)


@block
def _layer(
    features: tuple[Feature, ...], growth: int, *, scales: int, kept: int, kind: str, name: str = "layer"
) -> tuple[Feature, ...]:
    """One dense layer: each scale gains channels, `growth` times its factor, half from the next finer one."""
    finer_left = len(features) - kept
    grown = []
    for scale in range(scales - kept, scales):
        here = scale - scales + len(features)
        x, new_channels = features[here], growth * FACTORS[scale]
        with x.net.scope(f"scale{scale}"):
            if scale > scales - kept or finer_left:
                finer, half, width = features[here - 1], new_channels // 2, FACTORS[scale - 1]
                down = _narrowed_conv(finer, half, width=width, kind=kind, stride=2, name="down")
                same = _narrowed_conv(x, half, width=FACTORS[scale], kind=kind, name="same")
                grown.append(concat(x, down, same))
            else:
                same = _narrowed_conv(x, new_channels, width=FACTORS[scale], kind=kind, name="same")
                grown.append(concat(x, same))
    return tuple(grown)


@block
def _narrowed_conv(
    x: Feature, out_channels: int, *, width: int, kind: str, stride: int = 1, name: str = "narrowed_conv"
) -> Feature:
    """A 3 x 3 convolution, or what stands for it, behind a pointwise one to at most `width` its channels."""
    y = conv_norm_act(x, min(x.channels, width * out_channels), name="reduce")
    if kind == "separable":
        return depthwise_separable(y, out_channels, stride=stride, name="filter")
    if kind == "low_rank":
        return low_rank_conv(y, out_channels, stride=stride, name="filter")
    groups = math.gcd(GROUPS, y.channels, out_channels) if kind == "grouped" else 1
    y = channel_shuffle(y, groups)
    return conv_norm_act(y, out_channels, kernel_size=3, stride=stride, groups=groups, name="filter")


@block
def _transition(
    features: tuple[Feature, ...], channels: int, *, scales: int, name: str = "transition"
) -> tuple[Feature, ...]:
    """Every scale reduced to `channels` times its factor where the network gives up a scale."""
    factors = FACTORS[scales - len(features) : scales]
    return tuple(conv_norm_act(x, channels * factor) for x, factor in zip(features, factors, strict=True))


@block
def _official_head(x: Feature, *, num_classes: int) -> Feature:
    """Two strided convolutions, pooled: a third of the whole network's cost in the official recipe."""
    for _ in range(2):
        x = conv_norm_act(x, HEAD_CHANNELS, kernel_size=3, stride=2)
    return linear(global_avg_pool(x), num_classes)


@block
def _light_head(x: Feature, *, num_classes: int) -> Feature:
    return linear(global_avg_pool(x), num_classes)


space = SearchSpace(build)

_OFFICIAL: dict[str, Option] = {
    "scales": 3,
    "channels": 16,
    "growth": 6,
    "base": 4,
    "step_mode": "even",
    "step": 2,
    "blocks": 7,
    "head": "official",
    "conv": "standard",
}
msdnet_cifar10 = space.architecture(_OFFICIAL)
