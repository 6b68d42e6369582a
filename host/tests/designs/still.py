"""Devices that do nothing."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from .exerciser import BOARD_PORTS


class Still(wiring.Component):
    """The smallest device: answers nothing."""

    def __init__(self, ports=BOARD_PORTS):
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.led.eq(self.button)
        return m


class Feedback(Still):
    """Words that depend on each other, though no bit depends on itself."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        one, two = Signal(2), Signal(2)
        m.d.comb += [one.eq(two ^ Cat(self.button, two[0])), two.eq(Cat(self.peer_rx, one[0])), self.idle.eq(one[1])]
        return m
