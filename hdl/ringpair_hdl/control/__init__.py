"""The control of the device: a sequencer, its instruction set, and the assembler in which its program is written."""

from .assembler import Program
from .linker import Rom
from .scratchpad import Field, Scratchpad
from .sequencer import Sequencer

__all__ = ["Field", "Program", "Rom", "Scratchpad", "Sequencer"]
