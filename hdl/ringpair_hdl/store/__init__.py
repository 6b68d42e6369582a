"""SPI NOR flash."""

from ringpair_hdl.store.spi import SpiEngine

__all__ = ["SpiEngine"]
