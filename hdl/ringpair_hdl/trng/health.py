"""Health tests on raw samples of the noise source."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_protocol.health import WINDOW, proportion_cutoff, repetition_cutoff


class HealthTests(wiring.Component):
    """Repetition count and adaptive proportion test of NIST SP 800-90B, sections 4.4.1 and 4.4.2, on bits.

    The cutoffs come from `ringpair_protocol.health` for a claimed min-entropy H and a false-alarm probability alpha::

        repetition    C = 1 + ceil(-log2(alpha) / H)                     H = 0.5, alpha = 2^-30: 61
        proportion    C = 1 + CRITBINOM(1024, 2^-H, 1 - alpha)                                  810

    Both counters begin at a value from which they overflow when they reach C: the carry is the alarm, there is no
    comparison. The alarm is up in the cycle after the sample that raised it and stays until `clear` or reset. `ready`
    comes with the first window that passes (start-up test, section 4.3) and goes with an alarm.

    Attributes
    ----------
    step, bit : In(1), In(1)
        One sample.
    clear : In(1)
        Start anew with the start-up test.
    alarm, ready : Out(1), Out(1)
        Failed; passed the start-up test and not failed since.
    """

    step: In(1)
    bit: In(1)
    clear: In(1)
    alarm: Out(1)
    ready: Out(1)

    def __init__(self, repetition=None, proportion=None, window=WINDOW):
        self.repetition = repetition_cutoff() if repetition is None else repetition
        self.proportion = proportion_cutoff() if proportion is None else proportion
        self.window = window
        if window < 2 or window & (window - 1):
            raise ValueError(f"the window must be a power of two, not {window}")
        if self.repetition < 2 or not 2 <= self.proportion <= window:
            raise ValueError(
                f"cutoffs must be at least 2, and that of the proportion test at most the window of {window}; "
                f"got {self.repetition} and {self.proportion}"
            )
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        run_bits, count_bits = (self.repetition - 1).bit_length(), (self.proportion - 1).bit_length()
        run_start, count_start = (1 << run_bits) - self.repetition, (1 << count_bits) - self.proportion
        last = Signal()
        run = Signal(run_bits)  # run_start + length of the run
        first = Signal()
        count = Signal(count_bits)  # count_start + occurrences of the first bit in this window
        position = Signal(range(self.window))
        begun = Signal()  # there was a sample before
        passed = Signal()

        next_run, next_count = Signal(run_bits + 1), Signal(count_bits + 1)
        m.d.comb += [
            next_run.eq(run + 1),
            next_count.eq(count + 1),
            self.ready.eq(passed & ~self.alarm),
        ]
        with m.If(self.step):
            m.d.sync += [last.eq(self.bit), begun.eq(1), position.eq(position + 1)]
            with m.If(begun & (self.bit == last)):
                m.d.sync += run.eq(next_run)
                with m.If(next_run[run_bits]):
                    m.d.sync += self.alarm.eq(1)
            with m.Else():
                m.d.sync += run.eq(run_start + 1)
            with m.If(position == 0):
                m.d.sync += [first.eq(self.bit), count.eq(count_start + 1)]
            with m.Elif(self.bit == first):
                m.d.sync += count.eq(next_count)
                with m.If(next_count[count_bits]):
                    m.d.sync += self.alarm.eq(1)
            with m.If(position == self.window - 1):
                m.d.sync += passed.eq(1)
        with m.If(self.clear):
            m.d.sync += [self.alarm.eq(0), passed.eq(0), begun.eq(0), position.eq(0)]
        return m
