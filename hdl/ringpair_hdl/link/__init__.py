"""What comes in from outside: serial lines with frames, and the button."""

from .button import Button
from .frame_port import FramePort
from .uart import UartReceiver, UartTransmitter, divisor_of

__all__ = ["Button", "FramePort", "UartReceiver", "UartTransmitter", "divisor_of"]
