"""The dynamic PIN: kept until it is used or old, and shown on a two-digit seven-segment display."""

from enum import IntEnum

from amaranth.hdl import Array, C, Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2
from ringpair_protocol.binding import PIN_DIGITS, SEGMENTS

__all__ = ["PAIR_TICKS", "ROUNDS", "PinCommand", "PinDisplay"]

PAIR_TICKS = 128
"""How long a pair of digits has, with the pause behind it."""
ROUNDS = 32
"""How often all pairs have their turn until the PIN is too old."""
PAIRS = PIN_DIGITS // 2


class PinCommand(IntEnum):
    """What the display is told."""

    CLEAR = 0
    """Overwrite the PIN."""
    TELL = 1
    """The digits go out on `o`, 8 bytes of ASCII; 8 zeros if there is no PIN."""
    KEEP = 2
    """8 bytes from `i`, of which the lowest three bits count, become the PIN; it is not shown."""
    SHOW = 3
    """The same, and it is shown."""


class PinDisplay(wiring.Component):
    """Keeps the dynamic PIN, and shows it two digits at a time.

    Each pair has 1.4 s at 10.9 ms a tick: it is lit, then comes a pause of a quarter of that time, of half of it behind
    the last pair. A round takes 5.6 s; after 32 rounds, 179 s, the PIN is overwritten. Without one nothing is lit and
    nothing moves.

    A command is taken at once. Bytes are taken and given one a cycle; a command ends what the one before it began.

    Attributes
    ----------
    cmd, i, o
        `PinCommand`; bytes in, bytes out.
    tick
        Strobe of the time base, about 92 a second.
    side
        Which of the two digits is lit now: a level that changes some hundred times a second.
    segments
        What is lit of it, `SEGMENTS`.
    right
        It is the right one.
    """

    cmd: In(stream.Signature(2))
    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))
    tick: In(1)
    side: In(1)
    segments: Out(7)
    right: Out(1)

    def __init__(self):
        self.digits = [Signal(3, name=f"digit{n}") for n in range(PIN_DIGITS)]  # the first one first
        self.left = Signal(range(PIN_DIGITS + 1))  # bytes that are still to come or go
        self.time = Signal(range(PAIR_TICKS * PAIRS * ROUNDS))  # ticks since the PIN came
        self.telling, self.shown, self.valid = (Signal(name=name) for name in ("telling", "shown", "valid"))
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        digits, left, time = self.digits, self.left, self.time
        telling, shown, valid, moves = self.telling, self.shown, self.valid, Signal(name="moves")
        command = self.cmd.payload
        m.d.comb += [
            self.cmd.ready.eq(1),
            self.i.ready.eq(~self.cmd.valid),
            self.o.valid.eq(telling & left.any()),
            self.o.payload.eq(Mux(valid, Cat(digits[0], C(0b00110, 5)), 0)),
            moves.eq(Mux(telling, self.o.ready, self.i.valid) & left.any()),
        ]
        with m.If(self.cmd.valid):
            m.d.sync += [telling.eq(command == PinCommand.TELL), left.eq(Mux(command.any(), PIN_DIGITS, 0))]
            with m.If(command != PinCommand.TELL):
                m.d.sync += [shown.eq(command == PinCommand.SHOW), valid.eq(0), time.eq(0), Cat(digits).eq(0)]
        with m.Elif(moves):  # round, or in at the end
            m.d.sync += left.eq(left - 1)
            m.d.sync += Cat(digits).eq(Cat(digits[1:], Mux(telling, digits[0], self.i.payload[:3])))
            with m.If(left == 1):
                m.d.sync += valid.eq(valid | ~telling)
        with m.Elif(self.tick & valid & ~left.any()):
            m.d.sync += time.eq(time + 1)
            with m.If(time.all()):
                m.d.sync += [valid.eq(0), Cat(digits).eq(0)]

        within, pair = time[: exact_log2(PAIR_TICKS)], time[exact_log2(PAIR_TICKS) :][: exact_log2(PAIRS)]
        lit, digit = Signal(), Signal(3)
        m.d.comb += [
            lit.eq(shown & valid & ~left.any() & (~within[-1] | (~within[-2] & ~pair.all()))),
            digit.eq(Array(digits)[Cat(self.side, pair)]),
            self.right.eq(lit & self.side),
            self.segments.eq(Mux(lit, Array(C(lines, 7) for lines in SEGMENTS)[digit], 0)),
        ]
        return m
