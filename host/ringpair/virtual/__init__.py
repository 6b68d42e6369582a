"""Virtual boards: the real gateware, compiled, behind real serial ports.

`VirtualBoard` runs one in a process of its own; `SimulatedDevice` and `Pair` run in this one, cycle by cycle.
"""

from .compile import BuildError, Design, build
from .control import Control
from .device import NoiseSource, Pair, SimulatedDevice
from .native import EventKind, Stop
from .parameters import FlashParameters, Parameters
from .process import VirtualBoard, attach
from .rings import RingModel, RingReads
from .server import Settings, serve
from .state import BoardBusy, BoardFolder, Silicon

__all__ = [
    "BoardBusy",
    "BoardFolder",
    "BuildError",
    "Control",
    "Design",
    "EventKind",
    "FlashParameters",
    "NoiseSource",
    "Pair",
    "Parameters",
    "RingModel",
    "RingReads",
    "Settings",
    "Silicon",
    "SimulatedDevice",
    "Stop",
    "VirtualBoard",
    "attach",
    "build",
    "serve",
]
