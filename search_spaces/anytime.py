"""Networks made for exits: residual cells at three scales, behind each of which an exit may stand.

What early exits cost is decided by how soon images are small, and what they know by the depth before them. So
the cells of a scale share block and channels, which are multiples of what vector units hold, and a search
decides how deep each is and where exits stand. `static` is the same without early exits: the networks that
are trained for one budget each.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from nas import Feature, Net, SearchSpace, Shape
from nas.layers import conv_norm_act
from search_spaces.chain import COARSEST, HEADS, Stage, classifier, repeat, run_stages
from search_spaces.families import FAMILIES

__all__ = ["build", "space", "static"]

BLOCKS = ("standard", "bottleneck", "inverted", "low_rank", "xception")
WIDTHS = ((16, 24, 32), (32, 48, 64), (48, 64, 96))
CELLS = (1, 2, 3)
DEPTHS = (1, 2, 3)


def build(
    net: Net, input_shape: Shape = (3, 32, 32), num_classes: int = 10, *, heads: tuple[str, ...] = HEADS
) -> None:
    halvings = sum(math.ceil(min(input_shape[1:]) / (1 << done)) >= COARSEST for done in (1, 2, 3))
    halves_first = bool(halvings) and net.choice("stem_stride", 2, 1) == 2
    x = conv_norm_act(
        net.input(input_shape),
        net.choice("stem_channels", 16, 8),
        kernel_size=3,
        stride=1 + halves_first,
        name="stem",
    )
    stages: list[Stage] = []
    strides: list[int] = []
    for scale, widths in enumerate(WIDTHS):
        with net.scope(f"scale{scale}"):
            cells = net.choice("cells", *CELLS)
            stages += [_cell(net, widths)] * cells
        halved = scale < halvings and not (scale == 0 and halves_first)
        strides += [1 + halved] + [1] * (cells - 1)
    x, *summary = run_stages(net, x, stages, strides=strides, num_classes=num_classes, heads=heads)
    net.exit(classifier, x, *summary, num_classes=num_classes)


def _cell(net: Net, widths: tuple[int, ...]) -> Stage:
    """A cell of a scale, whose block is chosen here, once for all of them."""
    family = FAMILIES[net.choice("block", *BLOCKS)]
    channels = net.choice("channels", *widths)
    settings: dict[str, Any] = {
        name: net.choice(name, *options) if len(options) > 1 else options[0]
        for name, options in family.settings.items()
    }

    def cell(x: Feature, stride: int) -> Feature:
        depth = net.choice("depth", *DEPTHS)
        return repeat(x, family.unit, channels, depth=depth, stride=stride, **settings)

    return cell


space = SearchSpace(build)
static = SearchSpace(partial(build, heads=("none",)), "search_spaces.anytime:static")
