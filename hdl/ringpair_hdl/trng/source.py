"""Noise from free-running rings on an iCE40."""

from amaranth.hdl import Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ringpair_hdl.puf.tile import RING_ATTRIBUTE

LENGTHS = (3, 5, 7, 11)
"""LUTs of the rings: pairwise without a common factor, so that they do not lock to each other easily."""
INVERT = 0x5555  # not I0
NAND = 0x7777  # not (I0 and I1)
XOR = 0x6996


class RingNoise(wiring.Component):
    """XOR of free-running rings of different lengths, sampled through two flip-flops.

    The jitter that a ring gathers between two samples makes the sample unpredictable; the first flip-flop may become
    metastable, the second one gives it a cycle. Every ring is a loop of SB_LUT4 cells that carries its name in the
    attribute RING, and is not to be optimized away; placement is free. A NAND opens it while `enable` is 0: then it
    holds still and costs no power.

    It does not simulate: a model of the rings' gates, or a simulated source on the port `sample` of `Trng`, does.

    Attributes
    ----------
    enable : In(1)
        Let the rings run.
    sample : Out(1)
        A fresh bit every cycle, two cycles old.
    """

    enable: In(1)
    sample: Out(1)

    def __init__(self, lengths=LENGTHS):
        if not 1 <= len(lengths) <= 4 or any(length < 3 or length % 2 == 0 for length in lengths):
            raise ValueError(f"expected one to four odd ring lengths of at least 3, got {lengths!r}")
        self.lengths = tuple(lengths)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        taps = [self.ring(m, number, length) for number, length in enumerate(self.lengths)]
        mixed, sampled = (Signal(name=name, attrs={"keep": 1}) for name in ("mixed", "sampled"))
        m.submodules.mix = lut(XOR, mixed, *taps)
        m.d.sync += [sampled.eq(mixed), self.sample.eq(sampled)]
        return m

    def ring(self, m, number, length):
        """Add one ring; returns its tap."""
        name = f"trng_{number}"
        nets = [Signal(name=f"{name}_{i}", attrs={"keep": 1, "noglobal": 1}) for i in range(length)]
        for i, net in enumerate(nets):
            inputs = (nets[i - 1], self.enable) if i == 0 else (nets[i - 1],)
            cell = lut(NAND if i == 0 else INVERT, net, *inputs, **{f"a_{RING_ATTRIBUTE}": name})
            m.submodules[f"{name}_lut{i}"] = cell
        return nets[-1]


def lut(function, output, *inputs, **attributes):
    """One SB_LUT4; inputs left out are 0."""
    pins = {f"i_I{i}": inputs[i] if i < len(inputs) else Const(0, 1) for i in range(4)}
    return Instance("SB_LUT4", p_LUT_INIT=Const(function, 16), a_keep=1, o_O=output, **pins, **attributes)
