"""The settings of an export, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from nas.bundle import Readout

__all__ = ["ExportConfig"]


@final
@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What a bundle holds beside the segments of its networks."""

    fused: bool = True
    """A file for each network that stops by itself, for hosts that want one session."""
    int8: bool = False
    """Each network in int8 too, where the target runs its last exit faster so."""
    torch_weights: bool = False
    """Each network as safetensors too."""
    readouts: Mapping[str, Readout] = field(default_factory=dict, hash=False)
    """How the heads of a network answer; by default plainly, with a temperature fitted for each exit."""
    cascades: int = 0
    """Levels of each network with thresholds solved from mean budgets between its exits."""
    cascade_budgets: tuple[str, ...] = ()
    """Mean budgets, each with such a level too: `latency<=0.2ms`, `macs<=1M`, `energy<=1mJ`."""
    class_shares: tuple[float, ...] | None = None
    """Of each class on the device, for which accuracies are told and thresholds are solved; as in the images
    if None."""
    governor: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """How a device is to choose among the levels, as `nas.runtime.Governor.to_json` gives it."""

    @property
    def has_cascades(self) -> bool:
        """Whether some levels shall have thresholds."""
        return bool(self.cascades or self.cascade_budgets)
