"""Runs a bundle on a device: numpy and ONNX Runtime, nothing else of size."""

from nas.runtime.choice import level_within as level_within
from nas.runtime.fused import FusedModel as FusedModel
from nas.runtime.governor import BatteryBands as BatteryBands
from nas.runtime.governor import Governor as Governor
from nas.runtime.governor import Policy as Policy
from nas.runtime.prediction import Prediction as Prediction
from nas.runtime.session import Progress as Progress
from nas.runtime.session import Runtime as Runtime
from nas.runtime.signals import RecordedTrace as RecordedTrace
from nas.runtime.signals import Signals as Signals
from nas.runtime.signals import SignalSource as SignalSource
from nas.runtime.signals import SyntheticBattery as SyntheticBattery
from nas.runtime.signals import SystemSignals as SystemSignals

__all__ = [
    "BatteryBands",
    "FusedModel",
    "Governor",
    "Policy",
    "Prediction",
    "Progress",
    "RecordedTrace",
    "Runtime",
    "SignalSource",
    "Signals",
    "SyntheticBattery",
    "SystemSignals",
    "level_within",
]
