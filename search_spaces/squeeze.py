"""Networks of fire modules: SqueezeNet 1.0 and 1.1 with widths, squeeze ratios, depths and exits to choose.

The plan is Table 1 of https://arxiv.org/abs/1602.07360. Pools keep `ceil(size / 2)`, as in all spaces here,
where the original drops the border of some sizes: parameters are the same, multiply-accumulates a little
more.
"""

from __future__ import annotations

from nas import Feature, Net, Option, SearchSpace, Shape, block
from nas.layers import activation, batch_norm, conv, dropout, global_avg_pool, max_pool
from search_spaces.blocks import divisible, fire
from search_spaces.chain import Stage, ask_strides, classifier, published, run_stages

__all__ = ["build", "space", "squeezenet_1_0", "squeezenet_1_1"]

CHANNELS = (128, 256, 384, 512)
"""Channels of the stages at full width; each is two fire modules in the paper."""
HALVING = {"1.0": (1, 3), "1.1": (1, 2)}
"""Stages that pool. Version 1.0 does so before their second module, 1.1 before their first, which is
cheaper."""


def build(net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10) -> None:
    version = net.choice("version", "1.1", "1.0")
    norm = net.choice("norm", True, False)
    stem_stride, pool_stride, *halving = ask_strides(net, input_shape, 2 + len(HALVING[version]))
    strides = [halving.pop(0) if stage in HALVING[version] else 1 for stage in range(len(CHANNELS))]
    x = net.input(input_shape)
    stem_channels, kernel_size = (
        net.choice("stem_channels", 16, 32, 64, 96),
        net.choice("stem_kernel_size", 3, 7),
    )
    with net.scope("stem"):
        x = conv(x, stem_channels, kernel_size=kernel_size, stride=stem_stride, bias=not norm)
        x = activation(batch_norm(x) if norm else x)
        x = max_pool(x, stride=pool_stride) if pool_stride > 1 else x
    stages = [_stage(net, channels, late_pool=version == "1.0", norm=norm) for channels in CHANNELS]
    x, *summary = run_stages(
        net, x, stages, strides=strides, num_classes=num_classes, summary_channels=(16, 32)
    )
    if net.choice("classifier", "linear", "conv") == "linear":
        net.exit(classifier, x, *summary, num_classes=num_classes)
    else:
        net.exit(_conv_classifier, x, num_classes=num_classes)


def _stage(net: Net, channels: int, late_pool: bool, norm: bool) -> Stage:
    def stage(x: Feature, stride: int) -> Feature:
        width = divisible(channels * net.choice("width_ratio", 0.125, 0.25, 0.5, 1.0))
        depth = net.choice("depth", 1, 2, 3)
        squeeze_ratio = net.choice("squeeze_ratio", 0.125, 0.25, 0.5)
        wide_ratio = net.choice("wide_ratio", 0.25, 0.5, 0.75)
        pooled = 1 if late_pool and depth > 1 else 0
        strides = tuple(stride if position == pooled else 1 for position in range(depth))
        return _fires(x, width, strides, squeeze_ratio=squeeze_ratio, wide_ratio=wide_ratio, norm=norm)

    return stage


@block
def _fires(
    x: Feature,
    out_channels: int,
    strides: tuple[int, ...],
    *,
    squeeze_ratio: float,
    wide_ratio: float,
    norm: bool,
    name: str = "blocks",
) -> Feature:
    for position, stride in enumerate(strides):
        x = fire(
            x,
            out_channels,
            stride=stride,
            squeeze_ratio=squeeze_ratio,
            wide_ratio=wide_ratio,
            norm=norm,
            name=f"block{position}",
        )
    return x


@block
def _conv_classifier(x: Feature, *, num_classes: int, name: str = "classifier") -> Feature:
    """The paper's last head: one filter per class, averaged over space."""
    return global_avg_pool(activation(conv(dropout(x, 0.5), num_classes, bias=True)))


space = SearchSpace(build)


_STAGES: list[dict[str, Option]] = [
    {"width_ratio": 1.0, "depth": 2, "squeeze_ratio": 0.125, "wide_ratio": 0.5} for _ in CHANNELS
]

squeezenet_1_0 = published(
    space, *_STAGES, version="1.0", stem_channels=96, stem_kernel_size=7, norm=False, classifier="conv"
)
squeezenet_1_1 = published(
    space, *_STAGES, version="1.1", stem_channels=64, stem_kernel_size=3, norm=False, classifier="conv"
)
