"""The modes behind registers, for a caller whose own logic is slow."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring

from ringpair_hdl.ascon.modes import AsconModes, Step
from ringpair_hdl.ascon.sponge import Item

SILENT = (Step.HASH_IV, Step.LENGTH, Step.SQUEEZE, Step.AEAD_IV, Step.SEPARATOR)


class BufferedModes(wiring.Component):
    """`AsconModes` with registers in between: no path leads from an input into the state, nor from one to an output.

    The ports and what they carry are those of `AsconModes`. The timing differs:

    * a command is accepted a cycle later, `clear` acts a cycle later;
    * the hash family takes a byte a cycle and gives one every second cycle; `o.ready`, once up, stays until `o.valid`;
    * AEAD128 takes one every second cycle, but a byte a cycle of first key and nonce. Its `o` does not wait: a text's
      counterpart, and the tag, is there in the cycle that accepts the byte of `i` and at no other time.

    Parameters
    ----------
    mapped : bool
        As of `AsconModes`.

    Attributes
    ----------
    modes, full, waits, silent : what is behind the registers, and some of these; for proofs.
    """

    def __init__(self, *, mapped=False):
        self.modes = AsconModes(mapped=mapped)
        self.full = Signal()
        self.waits = Signal()  # the item at hand is accepted when the modes take it
        self.silent = Signal()  # the step takes nothing from `i`; known before its first byte could be taken
        super().__init__(self.modes.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.modes = modes = self.modes
        aead = modes.mode.aead

        clear = Signal()
        begin = Signal()
        m.d.sync += [clear.eq(self.clear), begin.eq(self.cmd.valid & ~self.cmd.ready & ~self.clear)]
        m.d.comb += [
            modes.clear.eq(clear),
            modes.cmd.payload.eq(self.cmd.payload),
            modes.cmd.valid.eq(begin),
            self.cmd.ready.eq(begin & modes.cmd.ready),
        ]

        item = Signal(Item)
        full, waits, silent = self.full, self.waits, self.silent
        late = Signal()  # such bytes are accepted when the modes take them, others ahead
        taken, room = Signal(), Signal()
        m.d.comb += [
            modes.i.payload.eq(item),
            modes.i.valid.eq(full),
            late.eq(aead & (modes.step != Step.KEY_NONCE)),
            taken.eq(full & modes.sponge.reading & ~silent),  # `modes.i.ready`, where `o` never holds it up
            room.eq(~full | (taken & ~waits)),
            self.i.ready.eq((taken & waits) | (room & ~late)),
        ]
        m.d.sync += silent.eq(Cat(modes.step == step for step in SILENT).any())
        with m.If(taken):
            m.d.sync += full.eq(0)
        with m.If(room & self.i.valid):
            m.d.sync += [item.eq(self.i.payload), full.eq(1), waits.eq(late)]
        with m.If(self.clear):
            m.d.sync += [item.eq(0), full.eq(0)]

        gives = Signal()  # one cycle: the byte of a hash that the caller waits for
        m.d.sync += gives.eq(self.o.ready & modes.o.valid & ~gives & ~self.clear)
        m.d.comb += [
            modes.o.ready.eq(gives | aead),
            self.o.payload.eq(modes.o.payload),
            self.o.valid.eq(modes.o.valid & (gives | aead) & ~clear),
        ]
        return m
