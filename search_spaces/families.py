"""The block families among which a stage can choose, each with the choices that only it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, final

from nas import Feature, Net, Option
from search_spaces.blocks import (
    bottleneck_conv,
    depthwise_separable,
    fire,
    inverted_residual,
    low_rank_conv,
    shuffle_v1,
    shuffle_v2,
    standard_conv,
    xception_stack,
)
from search_spaces.chain import Stage, repeat

__all__ = ["FAMILIES", "Family", "family_stage"]


@final
@dataclass(frozen=True)
class Family:
    """A block and the names and options of its settings."""

    unit: Callable[..., Feature]
    settings: Mapping[str, tuple[Option, ...]]


_KERNELS = (3, 5)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "standard": Family(standard_conv, {"kernel_size": (3,)}),
        "separable": Family(depthwise_separable, {"kernel_size": _KERNELS}),
        "inverted": Family(
            inverted_residual,
            {"kernel_size": _KERNELS, "expand_ratio": (2, 3, 4, 6), "se_ratio": (0.0, 0.25)},
        ),
        "low_rank": Family(low_rank_conv, {"kernel_size": _KERNELS, "rank_ratio": (0.25, 0.5, 0.75)}),
        "bottleneck": Family(bottleneck_conv, {"kernel_size": _KERNELS, "rank_ratio": (0.25, 0.5)}),
        "shuffle_v1": Family(shuffle_v1, {"kernel_size": _KERNELS, "groups": (2, 4)}),
        "shuffle_v2": Family(shuffle_v2, {"kernel_size": _KERNELS}),
        "fire": Family(fire, {"squeeze_ratio": (0.125, 0.25, 0.5), "wide_ratio": (0.25, 0.5, 0.75)}),
        "xception": Family(xception_stack, {"kernel_size": _KERNELS}),
    }
)


def family_stage(
    net: Net, *, families: tuple[str, ...], widths: tuple[int, ...], depths: tuple[int, ...]
) -> Stage:
    """A stage that chooses its family, its channels, its depth, and then what that family leaves open."""

    def stage(x: Feature, stride: int) -> Feature:
        family = FAMILIES[net.choice("block", *families)]
        width = net.choice("channels", *widths)
        depth = net.choice("depth", *depths)
        settings: dict[str, Any] = {
            name: net.choice(name, *options) if len(options) > 1 else options[0]
            for name, options in family.settings.items()
        }
        return repeat(x, family.unit, width, depth=depth, stride=stride, **settings)

    return stage
