"""What comes in from outside: serial lines with frames, and the button."""

from ringpair_hdl.link.button import Button
from ringpair_hdl.link.frame_port import FramePort
from ringpair_hdl.link.uart import UartReceiver, UartTransmitter, divisor_of

__all__ = ["Button", "FramePort", "UartReceiver", "UartTransmitter", "divisor_of"]
