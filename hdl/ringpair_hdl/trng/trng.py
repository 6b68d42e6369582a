"""Raw random bytes with health tests that fail closed."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ringpair_hdl.trng.health import HealthTests


class Trng(wiring.Component):
    """Takes a raw bit every `decimation` cycles, tests it, and collects bytes.

    All samples are tested, also those that nobody needs. The first 1024 (start-up test) go nowhere. The bytes are raw:
    whoever draws them conditions them. One byte waits; samples are tested and thrown away until it is taken.
    A byte whose last bit raises an alarm does not come out, nor does any after it, until `clear`.

    Parameters
    ----------
    decimation : int
        Cycles between samples, a power of two, so that the jitter of many periods adds up.
    health : HealthTests, optional
        Other cutoffs than those for the claimed entropy.

    Attributes
    ----------
    sample : In(1)
        Raw bit, synchronous to the clock (`source.RingNoise`, or the port of a simulated source).
    take : Out(1)
        Strobe: `sample` is used in this cycle.
    enable : In(1)
        Runs while 1. At 0 the byte and the start-up test are forgotten; an alarm stays.
    clear : In(1)
        Forget everything, the alarm too.
    o : Out(stream.Signature(8))
        Raw bytes, first sample in bit 0. `valid` falls without a transfer on an alarm, and with `enable` and `clear`.
    alarm, ready : Out(1), Out(1)
        A health test failed; the start-up test has passed and no test failed since.
    """

    def __init__(self, decimation=32, health=None):
        if decimation < 2 or decimation & (decimation - 1):
            raise ValueError(f"decimation must be a power of two, at least 2, not {decimation}")
        self.decimation = decimation
        self.health = health or HealthTests()
        super().__init__(
            {
                "sample": In(1),
                "take": Out(1),
                "enable": In(1),
                "clear": In(1),
                "o": Out(stream.Signature(8)),
                "alarm": Out(1),
                "ready": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.health = health = self.health
        timer = Signal(range(self.decimation))
        shift = Signal(9)  # a 1 runs ahead of the samples; when it is in bit 0, the byte is complete
        restart = Signal()

        m.d.comb += [
            restart.eq(self.clear | (~self.enable & ~self.alarm)),
            health.step.eq(self.take),
            health.bit.eq(self.sample),
            health.clear.eq(restart),
            self.alarm.eq(health.alarm),
            self.ready.eq(health.ready),
            self.take.eq(self.enable & timer.all()),
            self.o.payload.eq(shift[1:]),
            self.o.valid.eq(shift[0] & health.ready & self.enable),
        ]
        m.d.sync += timer.eq(timer + 1)
        with m.If(self.take & ~shift[0]):
            m.d.sync += shift.eq(Cat(shift[1:], self.sample))
        with m.If(restart | ~health.ready | (self.o.valid & self.o.ready)):
            m.d.sync += shift.eq(1 << 8)
        return m
