"""Milliseconds, measured on a target in the form that ships, or summed from a table of measured layers."""

from nas.latency.local import LocalTarget as LocalTarget
from nas.latency.measured import MeasuredLatency as MeasuredLatency
from nas.latency.segments import measure_exits as measure_exits
from nas.latency.table import LatencyTable as LatencyTable
from nas.latency.target import Target as Target

__all__ = ["LatencyTable", "LocalTarget", "MeasuredLatency", "Target", "measure_exits"]
