"""Blocks, segments and padding on the Ascon state: one command for each phase of a mode."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ringpair_hdl.ascon.state import AsconState


class Command(data.Struct):
    """One phase: which words meet which bytes, and which permutations follow."""

    first: 3  # words first..last are the block
    last: 3
    segment: 1  # any number of bytes up to an end item, then 0x01 and zeros;  0: exactly one block, no padding
    squeeze: 1  # nothing is read: the state meets zeros
    emit: 1  # the sum of state and input goes to o
    over: 1  # the state takes the input, not the sum (decryption)
    middle: 1  # permute after each full block of a segment
    final: 1  # permute after the last block
    short: 1  # 8 rounds, not 12


class Item(data.Struct):
    """A byte, or the end of a segment."""

    data: 8
    end: 1  # ends the segment; data is not used


class AsconSponge(wiring.Component):
    """Runs commands on an `AsconState`.

    Timing: one cycle to begin a command, one a byte, of input or of padding, and 12 (8) + 1 for each permutation;
    the `+ 1` is spent also where a block is followed by none. Every block is read in full: padding takes as long as
    bytes.

    Ports
    -----
    cmd : stream of `Command`. The payload must hold until it is accepted, which means: done.
    i : stream of `Item`. Read as fast as `o` lets it through when the command emits.
    o : stream of bytes. Combinational from `i`: valid when `i` is.
    at : number of the byte within its word, for a driver of `i` that computes what it sends.
    clear : ends everything and zeroes the state, within one cycle; nothing is valid on `o` after it until a new
    command.

    Attributes
    ----------
    state : the `AsconState`.
    reading : a byte of `i` is wanted, unless the command squeezes; from registers, whatever `o` does.
    resting, control : no command runs; all registers but the state, the FSM's first, one-hot. For proofs.
    """

    cmd: In(stream.Signature(Command))
    i: In(stream.Signature(Item))
    o: Out(stream.Signature(8))
    at: Out(3)
    clear: In(1)

    def __init__(self, *, mapped=False):
        self.state = AsconState(mapped=mapped)
        self.reading = Signal()
        self.resting = Signal()
        self.control = Signal(3 + 3 + 3 + 2 + 4)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.state = state = self.state
        cmd, i, o = self.cmd.payload, self.i, self.o

        word = Signal(3)
        byte = Signal(3)
        fill = Signal()  # the segment has ended, zeros follow up to the end of the block
        closing = Signal()  # the block in the state is the command's last
        end = Signal()  # the item at hand ends the segment: it becomes 0x01
        own = Signal()  # the byte at hand does not come from i
        wrap = Signal()  # it is the block's last byte
        done = Signal()  # this block is the last one

        m.d.comb += [
            end.eq(i.payload.end & cmd.segment & ~fill),
            own.eq(fill | cmd.squeeze),
            wrap.eq((byte == 7) & (word == cmd.last)),
            done.eq(~cmd.segment | closing | fill | end),
            state.word.eq(word),
            state.over.eq(cmd.over & ~fill & ~end),
            state.d.eq(Mux(own, 0, Mux(end, 0x01, i.payload.data))),
            state.short.eq(cmd.short),
            state.clear.eq(self.clear),
            o.payload.eq(state.c),
            self.at.eq(byte),
        ]

        with m.FSM() as fsm:
            m.d.comb += [self.resting.eq(fsm.ongoing("idle")), self.reading.eq(fsm.ongoing("bytes") & ~fill)]
            phases = [fsm.ongoing(name) for name in ("idle", "bytes", "permute")]
            m.d.comb += self.control.eq(Cat(phases, word, byte, fill, closing, state.round))
            with m.State("idle"):
                m.d.sync += [word.eq(cmd.first), byte.eq(0), fill.eq(0), closing.eq(0)]
                with m.If(self.cmd.valid & ~self.clear):
                    m.next = "bytes"

            with m.State("bytes"):
                m.d.comb += [
                    i.ready.eq(~own & (~cmd.emit | o.ready | end)),
                    o.valid.eq(cmd.emit & (i.valid | cmd.squeeze) & ~fill & ~end),
                    state.step.eq(own & (~cmd.emit | o.ready | fill) | (i.valid & i.ready)),
                ]
                with m.If(state.step):
                    m.d.sync += [byte.eq(byte + 1), fill.eq(fill | end)]
                    with m.If(byte == 7):
                        m.d.sync += word.eq(Mux(wrap, cmd.first, word + 1))
                    with m.If(wrap):
                        m.d.sync += closing.eq(done)
                        m.d.comb += state.start.eq(Mux(done, cmd.final, cmd.middle))
                        m.next = "permute"
                with m.If(self.clear):
                    m.next = "idle"

            with m.State("permute"):
                m.d.sync += fill.eq(0)
                with m.If(~state.busy):
                    m.d.comb += self.cmd.ready.eq(closing)
                    m.next = "bytes"
                    with m.If(closing):
                        m.next = "idle"
                with m.If(self.clear):
                    m.next = "idle"
        return m
