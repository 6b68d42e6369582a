"""One byte between the scratchpad and a port, in the cycle in which both are ready."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ringpair_hdl.ascon import Item

from . import isa
from .isa import Direction, Port

BYTES = stream.Signature(8)


def pairs(value):
    return [value[k : k + 2] for k in range(0, len(value), 2)]


class Exchange(wiring.Component):
    """All ports, and what the bytes that came through them were like.

    Attributes
    ----------
    op
        The present instruction: MOVE, or EMIT.
    moving, emitting, ending
        Move a byte; give ``operand``; end the sponge's segment.
    moved, given
        It happens in this cycle, for a move; for an EMIT or an end.
    memory, operand
        The scratchpad's byte, the instruction's byte.
    value
        The port's byte.
    begin
        Before a move: nothing was seen so far.
    match, ones, zeros
        What CHECK, CRYPT and TAKE from SPI leave; ``match`` two cycles after the last byte.
    sponge_i, sponge_o, link_i, link_o, spi_i, spi_o, puf_i, puf_o, trng_o, length, error
        See ``Sequencer``.
    """

    op: In(8)
    moving: In(1)
    emitting: In(1)
    ending: In(1)
    moved: Out(1)
    given: Out(1)
    memory: In(8)
    operand: In(8)
    value: Out(8)
    begin: In(1)
    match: Out(1)
    ones: Out(1)
    zeros: Out(1)
    sponge_i: Out(stream.Signature(Item))
    sponge_o: In(BYTES)
    link_i: Out(BYTES)
    link_o: In(BYTES)
    spi_i: Out(BYTES)
    spi_o: In(BYTES)
    puf_i: Out(BYTES)
    puf_o: In(BYTES)
    trng_o: In(BYTES)
    length: In(isa.LENGTH)
    error: In(2)

    def elaborate(self, platform):
        m = Module()
        port, direction = self.op[:3], self.op[3:5]
        inner = port[2] & port[0]  # no port but arithmetic
        sponge = port[:2] == Port.SPONGE  # also GIVE_END
        give, take, crypt = (direction == d for d in (Direction.GIVE, Direction.TAKE, Direction.CRYPT))
        crypting, taking = Signal(), Signal()
        both, against = Signal(), Signal()  # CRYPT with the sponge alone, or against a byte that is there
        m.d.comb += [
            crypting.eq(self.moving & crypt),
            taking.eq(self.moving & (take | (direction == Direction.CHECK))),
            both.eq(crypting & sponge),
            against.eq(crypting & self._sources(m, port, taking, crypting)),
        ]
        self._targets(m, both | against, taking)
        m.d.comb += self.sponge_o.ready.eq(taking & (port == Port.SPONGE) | both | against)

        arrived = Mux(port == Port.SPONGE, self.sponge_o.valid, self.valid | inner)
        with m.If(crypt):
            m.d.comb += self.moved.eq(self.sponge_i.ready & (both | against))
        with m.Else():
            m.d.comb += self.moved.eq(self.moving & Mux(give, self.given | inner, arrived))

        compares, reads_flash = direction[1] & ~inner, take & (port == Port.SPI)
        byte = self.spi_o.payload
        for flag, keeps in ((self.ones, byte.all()), (self.zeros, ~byte.any())):
            with m.If(reads_flash & self.begin):
                m.d.sync += flag.eq(1)
            with m.Elif(reads_flash & self.moved & ~keeps):
                m.d.sync += flag.eq(0)

        differs, compared = Signal(4), Signal()  # one cycle later: the sponge's byte comes late
        difference = self.value ^ Mux(crypt, self.sponge_o.payload, self.memory)
        m.d.sync += [compared.eq(compares & self.moved), differs.eq(Cat(pair.any() for pair in pairs(difference)))]
        with m.If(compares & self.begin):
            m.d.sync += self.match.eq(1)
        with m.Elif(compared & differs.any()):
            m.d.sync += self.match.eq(0)
        return m

    def _sources(self, m, port, taking, crypting):
        """``value`` of the port; returns whether one that is not the sponge has a byte."""
        self.valid = valid = Signal()
        sources = {Port.LINK: self.link_o, Port.SPI: self.spi_o, Port.PUF: self.puf_o, Port.TRNG: self.trng_o}
        with m.Switch(port):
            for number, source in sources.items():
                with m.Case(number):
                    m.d.comb += [self.value.eq(source.payload), valid.eq(source.valid)]
                    # the flash sends a byte only when asked, so ready comes before valid
                    m.d.comb += source.ready.eq(taking | (crypting & (self.sponge_i.ready | ~source.valid)))
            with m.Case(Port.SPONGE):
                m.d.comb += self.value.eq(self.sponge_o.payload)
            with m.Default():
                failed = self.error.any()
                m.d.comb += [self.value.eq(Cat(Mux(failed, self.error, self.length), failed)), valid.eq(1)]
        return valid

    def _targets(self, m, crypting, taking):
        """GIVE and EMIT, whose numbers of ports are the same in two bits, and the sponge's side of a CRYPT."""
        port, inner, outgoing = self.op[:2], self.op[2] & self.op[0], Mux(self.emitting, self.operand, self.memory)
        giving = Signal()
        m.d.comb += giving.eq(self.emitting | (self.moving & (self.op[3:5] == Direction.GIVE) & ~inner))
        targets = (self.sponge_i, self.link_i, self.spi_i, self.puf_i)
        with m.Switch(port):
            for number, target in enumerate(targets):
                with m.Case(number):
                    m.d.comb += [target.valid.eq(giving), self.given.eq(target.ready)]
        for target in targets[1:]:
            m.d.comb += target.payload.eq(outgoing)
        m.d.comb += [self.sponge_i.payload.data.eq(outgoing), self.sponge_i.payload.end.eq(self.ending)]
        with m.If(self.ending | crypting):
            m.d.comb += self.sponge_i.valid.eq(1)
