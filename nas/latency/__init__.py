"""Milliseconds: measured on a target in the form that ships, or predicted from a calibration."""

from nas.latency.calibration import Calibration as Calibration
from nas.latency.calibration import Measured as Measured
from nas.latency.energy import DeclaredEnergy as DeclaredEnergy
from nas.latency.engine import Engine as Engine
from nas.latency.engine import OnnxRuntime as OnnxRuntime
from nas.latency.local import LocalTarget as LocalTarget
from nas.latency.measured import MeasuredLatency as MeasuredLatency
from nas.latency.prediction import Predictor as Predictor
from nas.latency.segments import measure_exit as measure_exit
from nas.latency.segments import measure_exits as measure_exits
from nas.latency.specs import open_target as open_target
from nas.latency.survey import calibrate as calibrate
from nas.latency.table import LatencyTable as LatencyTable
from nas.latency.target import Target as Target
from nas.latency.timing import Timing as Timing
from nas.latency.ways import WayTimes as WayTimes

__all__ = [
    "Calibration",
    "DeclaredEnergy",
    "Engine",
    "LatencyTable",
    "LocalTarget",
    "Measured",
    "MeasuredLatency",
    "OnnxRuntime",
    "Predictor",
    "Target",
    "Timing",
    "WayTimes",
    "calibrate",
    "measure_exit",
    "measure_exits",
    "open_target",
]
