"""Ascon (NIST SP 800-232) for small FPGAs: all modes on a byte stream around one permutation."""

from ringpair_hdl.ascon.buffered import BufferedModes
from ringpair_hdl.ascon.modes import CUSTOMIZATION_MAX, AsconModes, Start
from ringpair_hdl.ascon.sponge import AsconSponge, Command, Item
from ringpair_hdl.ascon.state import AsconState

__all__ = ["CUSTOMIZATION_MAX", "AsconModes", "AsconSponge", "AsconState", "BufferedModes", "Command", "Item", "Start"]
