"""A small space for small images, such as scikit-learn's 8 x 8 digits: a whole search takes a minute."""

from __future__ import annotations

from nas import Net, SearchSpace, Shape
from nas.layers import conv_norm_act
from search_spaces.chain import ask_strides, classifier, run_stages
from search_spaces.families import family_stage

__all__ = ["build", "space"]

FAMILIES = ("separable", "inverted", "low_rank", "shuffle_v2")
WIDTHS = ((8, 16, 24), (16, 24, 32), (32, 48, 64))
DEPTHS = (1, 2, 3)


def build(net: Net, input_shape: Shape = (1, 8, 8), num_classes: int = 10) -> None:
    stem_stride, *strides = ask_strides(net, input_shape, 1 + len(WIDTHS))
    stem_channels = net.choice("stem_channels", 8, 16)
    x = conv_norm_act(net.input(input_shape), stem_channels, kernel_size=3, stride=stem_stride, name="stem")
    stages = [family_stage(net, families=FAMILIES, widths=widths, depths=DEPTHS) for widths in WIDTHS]
    x, *summary = run_stages(
        net, x, stages, strides=strides, num_classes=num_classes, summary_channels=(8, 16, 32)
    )
    net.exit(classifier, x, *summary, num_classes=num_classes)


space = SearchSpace(build)
