"""What comes in from outside: serial lines with frames, and the button."""

from ringpair_hdl.link.button import Button
from ringpair_hdl.link.ports import LinkPorts
from ringpair_hdl.link.uart import UartReceiver, UartTransmitter, divisor_of

__all__ = ["Button", "LinkPorts", "UartReceiver", "UartTransmitter", "divisor_of"]
