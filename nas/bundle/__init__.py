"""What ships to a device: exported networks, their levels and where they come from; no torch, no numpy."""

from nas.bundle.certificate import Certificate as Certificate
from nas.bundle.contents import IMAGE as IMAGE
from nas.bundle.contents import LOGITS as LOGITS
from nas.bundle.contents import Bundle as Bundle
from nas.bundle.contents import BundleModel as BundleModel
from nas.bundle.contents import SegmentFile as SegmentFile
from nas.bundle.contents import exit_segments as exit_segments
from nas.bundle.contents import write_bundle as write_bundle
from nas.bundle.level import Latency as Latency
from nas.bundle.level import Level as Level
from nas.bundle.level import undominated as undominated

__all__ = [
    "IMAGE",
    "LOGITS",
    "Bundle",
    "BundleModel",
    "Certificate",
    "Latency",
    "Level",
    "SegmentFile",
    "exit_segments",
    "undominated",
    "write_bundle",
]
