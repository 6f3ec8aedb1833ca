"""Networks of low-rank convolutions: k x 1 and 1 x k, or bottlenecks, with the rank of every stage to choose.

A survey of what low rank is worth where: on 1 x 1 and depthwise convolutions it saves nothing, which is why
it stands here as a block of its own instead of a conversion of other networks.
"""

from __future__ import annotations

from nas import Feature, Net, SearchSpace, Shape, block
from nas.layers import activation, concat, conv_norm_act, global_avg_pool
from search_spaces.blocks import bottleneck_conv, low_rank_conv, low_rank_linear
from search_spaces.chain import Stage, ask_strides, repeat, run_stages

__all__ = ["build", "space"]

UNITS = {"low_rank": low_rank_conv, "bottleneck": bottleneck_conv}
WIDTHS = ((16, 32, 48), (32, 48, 64, 96), (48, 64, 96, 128), (64, 128, 192, 256))
RANK_RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0)


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    stem_stride, *strides = ask_strides(net, input_shape, 1 + len(WIDTHS))
    x = net.input(input_shape)
    x = conv_norm_act(
        x, net.choice("stem_channels", 8, 16, 32), kernel_size=3, stride=stem_stride, name="stem"
    )
    stages = [_stage(net, widths) for widths in WIDTHS]
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes)
    hidden = net.choice("hidden_features", 0, 64, 128)
    rank = net.choice("hidden_rank", 8, 16, 32) if hidden else 0
    net.exit(_classifier, x, *summary, hidden=hidden, rank=rank, num_classes=num_classes)


def _stage(net: Net, widths: tuple[int, ...]) -> Stage:
    def stage(x: Feature, stride: int) -> Feature:
        unit = UNITS[net.choice("block", *UNITS)]
        width = net.choice("channels", *widths)
        depth = net.choice("depth", 1, 2, 3, 4)
        kernel_size = net.choice("kernel_size", 3, 5, 7)
        rank_ratio = net.choice("rank_ratio", *RANK_RATIOS)
        return repeat(
            x, unit, width, depth=depth, stride=stride, kernel_size=kernel_size, rank_ratio=rank_ratio
        )

    return stage


@block
def _classifier(*features: Feature, hidden: int, rank: int, num_classes: int) -> Feature:
    """Pooled features, a hidden layer of low rank where one is chosen, and a low-rank linear classifier."""
    y = concat(*(global_avg_pool(feature) for feature in features))
    if not hidden:
        return low_rank_linear(y, num_classes, rank=y.channels)
    return low_rank_linear(
        activation(low_rank_linear(y, hidden, rank=rank, name="hidden")), num_classes, rank=rank
    )


space = SearchSpace(build)
