"""Replays a day on a made-up device: governors beside fixed levels and the best possible in hindsight."""

from nas.simulation.device import Device as Device
from nas.simulation.device import Outcome as Outcome
from nas.simulation.device import State as State
from nas.simulation.optimum import best_replay as best_replay
from nas.simulation.replay import Replay as Replay
from nas.simulation.replay import Step as Step
from nas.simulation.replay import replay_governor as replay_governor
from nas.simulation.replay import replay_level as replay_level
from nas.simulation.trace import Moment as Moment
from nas.simulation.trace import Trace as Trace

__all__ = [
    "Device",
    "Moment",
    "Outcome",
    "Replay",
    "State",
    "Step",
    "Trace",
    "best_replay",
    "replay_governor",
    "replay_level",
]
