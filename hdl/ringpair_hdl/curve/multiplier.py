"""Addend ± product of 16 bits in one clock: a DSP block of the UP5K, or LUTs where there is none."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier"]

REGISTERED, PRODUCT, OPERAND, FROM_BELOW = Const(1, 2), Const(2, 2), Const(1, 1), Const(2, 2)


class Multiplier(wiring.Component):
    """``p = d ± a·b`` modulo 2^32, one clock later.

    Parameters
    ----------
    mapped
        Instantiate SB_MAC16. (Yosys must not be asked for DSPs on its own, `synth_ice40 -dsp`: it would rewrite this
        one wrongly.) Else behavior, for simulation and for chips that have no DSP: about 820 cells.
    """

    def __init__(self, *, mapped: bool = False):
        self.mapped = mapped
        super().__init__({"a": In(16), "b": In(16), "d": In(16), "sub": In(1), "p": Out(32)})

    def elaborate(self, platform):
        m = Module()
        if not self.mapped:
            p, product = Signal(32, reset_less=True), Signal(32)
            m.d.comb += [product.eq(self.a * self.b), self.p.eq(p)]
            m.d.sync += p.eq(Mux(self.sub, self.d - product, self.d + product))
            return m
        # The two adders of the block make one of 32 bits: the upper one takes the carry of the lower one.
        parameters = {
            **dict.fromkeys(("TOPOUTPUT_SELECT", "BOTOUTPUT_SELECT"), REGISTERED),
            **dict.fromkeys(("TOPADDSUB_LOWERINPUT", "BOTADDSUB_LOWERINPUT"), PRODUCT),
            **dict.fromkeys(("TOPADDSUB_UPPERINPUT", "BOTADDSUB_UPPERINPUT"), OPERAND),
            "TOPADDSUB_CARRYSELECT": FROM_BELOW,
        }
        low = ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT")
        low += ("OLOADTOP", "OLOADBOT", "OHOLDTOP", "OHOLDBOT", "CI", "ACCUMCI", "SIGNEXTIN")
        m.submodules.mac = Instance(
            "SB_MAC16",
            **{f"p_{name}": value for name, value in parameters.items()},
            **{f"i_{name}": Const(0, 1) for name in low},
            i_CLK=ClockSignal(),
            i_CE=Const(1, 1),
            i_A=self.a,
            i_B=self.b,
            i_C=Const(0, 16),
            i_D=self.d,
            i_ADDSUBTOP=self.sub,
            i_ADDSUBBOT=self.sub,
            o_O=self.p,
        )
        return m
