"""SPI NOR flash, and memory besides the scratchpad."""

from ringpair_hdl.store.shelf import Shelf
from ringpair_hdl.store.spi import SpiEngine

__all__ = ["Shelf", "SpiEngine"]
