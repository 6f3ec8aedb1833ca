"""Runs a bundle on a device: numpy and ONNX Runtime, nothing else of size."""

from nas.runtime.adaptive import Deadline as Deadline
from nas.runtime.adaptive import EnergyUntil as EnergyUntil
from nas.runtime.choice import level_within as level_within
from nas.runtime.exits import exit_predictions as exit_predictions
from nas.runtime.fused import FusedModel as FusedModel
from nas.runtime.governor import Governor as Governor
from nas.runtime.policies import BatteryBands as BatteryBands
from nas.runtime.policies import Charger as Charger
from nas.runtime.policies import Lowest as Lowest
from nas.runtime.policies import ThermalClamp as ThermalClamp
from nas.runtime.policies import UserPin as UserPin
from nas.runtime.policy import Choice as Choice
from nas.runtime.policy import Memory as Memory
from nas.runtime.policy import Policy as Policy
from nas.runtime.policy import Situation as Situation
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
    "Charger",
    "Choice",
    "Deadline",
    "EnergyUntil",
    "FusedModel",
    "Governor",
    "Lowest",
    "Memory",
    "Policy",
    "Prediction",
    "Progress",
    "RecordedTrace",
    "Runtime",
    "SignalSource",
    "Signals",
    "Situation",
    "SyntheticBattery",
    "SystemSignals",
    "ThermalClamp",
    "UserPin",
    "exit_predictions",
    "level_within",
]
