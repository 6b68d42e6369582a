"""SPI NOR flash."""

from .spi import SpiEngine

__all__ = ["SpiEngine"]
