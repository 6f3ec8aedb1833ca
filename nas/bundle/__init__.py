"""What ships to a device: exported networks, their levels and where they come from; no torch, no numpy."""

from nas.bundle.certificate import Certificate as Certificate
from nas.bundle.contents import Bundle as Bundle
from nas.bundle.level import Latency as Latency
from nas.bundle.level import Level as Level
from nas.bundle.level import undominated as undominated
from nas.bundle.names import CONFIDENCE as CONFIDENCE
from nas.bundle.names import EXIT as EXIT
from nas.bundle.names import FUSED as FUSED
from nas.bundle.names import IMAGE as IMAGE
from nas.bundle.names import LOGITS as LOGITS
from nas.bundle.names import MAX_EXIT as MAX_EXIT
from nas.bundle.names import NEXT_STATE as NEXT_STATE
from nas.bundle.names import RESERVED as RESERVED
from nas.bundle.names import STATE as STATE
from nas.bundle.names import THRESHOLDS as THRESHOLDS
from nas.bundle.names import exit_segments as exit_segments
from nas.bundle.network import BundleModel as BundleModel
from nas.bundle.network import SegmentFile as SegmentFile
from nas.bundle.readout import Readout as Readout
from nas.bundle.writing import write_bundle as write_bundle

__all__ = [
    "CONFIDENCE",
    "EXIT",
    "FUSED",
    "IMAGE",
    "LOGITS",
    "MAX_EXIT",
    "NEXT_STATE",
    "RESERVED",
    "STATE",
    "THRESHOLDS",
    "Bundle",
    "BundleModel",
    "Certificate",
    "Latency",
    "Level",
    "Readout",
    "SegmentFile",
    "exit_segments",
    "undominated",
    "write_bundle",
]
