"""The headline space: each stage chooses its block family, so one search compares them all on the device."""

from __future__ import annotations

from nas import Net, SearchSpace, Shape
from nas.layers import conv_norm_act
from search_spaces.chain import ask_strides, classifier, run_stages
from search_spaces.families import FAMILIES, family_stage

__all__ = ["build", "space"]

WIDTHS = ((8, 16, 24, 32), (16, 24, 32, 48), (32, 48, 64, 96), (64, 96, 128, 192))
DEPTHS = (1, 2, 3, 4)


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    stem_stride, *strides = ask_strides(net, input_shape, 1 + len(WIDTHS))
    stem_channels = net.choice("stem_channels", 8, 16, 24, 32)
    x = conv_norm_act(net.input(input_shape), stem_channels, kernel_size=3, stride=stem_stride, name="stem")
    stages = [family_stage(net, families=tuple(FAMILIES), widths=widths, depths=DEPTHS) for widths in WIDTHS]
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes)
    last_channels = net.choice("last_channels", 0, 128, 256)
    if last_channels:
        x = conv_norm_act(x, last_channels, name="last")
    net.exit(classifier, x, *summary, num_classes=num_classes)


space = SearchSpace(build)
