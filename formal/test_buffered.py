"""Proofs of the sponge behind its buffer: it answers a text in the cycle that takes it, and never stands still."""

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from ringpair_hdl.ascon import BufferedModes, Item, Start
from ringpair_hdl.ascon.buffered import SILENT
from ringpair_hdl.ascon.modes import Step
from ringpair_hdl.ascon.state import ROUNDS

from formal.prove import Disproved, mutant, prove, reach

OF_HASHES = (Step.HASH_IV, Step.LENGTH, Step.CUSTOMIZATION, Step.MESSAGE, Step.SQUEEZE)


class Buffered(wiring.Component):
    """`BufferedModes`, whose inputs are free."""

    cmd: In(Start)
    cmd_valid: In(1)
    item: In(Item)
    i_valid: In(1)
    o_ready: In(1)
    clear: In(1)

    def __init__(self, make=BufferedModes):
        self.dut = make()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.d.comb += [
            dut.cmd.payload.eq(self.cmd),
            dut.cmd.valid.eq(self.cmd_valid),
            dut.i.payload.eq(self.item),
            dut.i.valid.eq(self.i_valid),
            dut.o.ready.eq(self.o_ready),
            dut.clear.eq(self.clear),
        ]
        self.properties(m, dut, dut.modes)
        return m

    def at(self, *steps):
        return Cat(self.dut.modes.step == step for step in steps).any()


class Answers(Buffered):
    """Where the caller holds each item of `i` until it is accepted, a text and a tag are answered in that cycle, byte
    by byte, which a CRYPT of the sequencer counts on."""

    def properties(self, m, dut, modes):
        at, i, item = self.at, dut.i, self.item.as_value()
        held, last = Signal(), Signal(Item)
        m.d.sync += [held.eq(i.valid & ~i.ready & ~self.clear), last.eq(self.item)]
        m.d.comb += Assume(~held | (i.valid & (item == last.as_value())))

        aead = modes.mode.aead
        answers, ends = aead & at(Step.TEXT, Step.TAG), at(Step.TEXT) & self.item.end
        m.d.comb += [
            Assert(~answers | (dut.o.valid == (i.valid & i.ready & ~ends))),
            Assert(~(answers & dut.o.valid) | (modes.i.payload.as_value() == item)),
        ]
        # what is accepted is taken then, all but the first key and nonce; the shorter way to `modes.i.ready` is right
        waiting, early = dut.full & dut.waits, dut.full & ~dut.waits
        m.d.comb += [
            Assert(~aead | at(Step.KEY_NONCE) | (i.ready == (waiting & modes.i.ready))),
            Assert(~dut.full | (modes.i.ready == (modes.sponge.reading & ~dut.silent))),
        ]
        # for the induction: a byte from then is the next step's first at most
        phases, word, byte_fill = (modes.sponge.control[k] for k in (slice(3), slice(3, 6), slice(6, 10)))
        first = phases[0] | (phases[1] & (word == 3) & (byte_fill == 0))
        behind = at(Step.ASSOCIATED_DATA, Step.SEPARATOR, Step.TEXT, Step.FINAL_KEY, Step.TAG)
        m.d.comb += [
            Assert(at(*Step)),
            Assert((phases == 0b001) | (phases == 0b010) | (phases == 0b100)),
            Assert(at(Step.IDLE) | (aead != at(*OF_HASHES))),
            Assert(~(behind & early)),
            Assert(~(at(Step.KEY) & early) | first),
            Assert(~waiting | (held & (modes.i.payload.as_value() == item))),
        ]


def test_answers():
    prove(Answers(), depth=3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("late.eq(aead & (modes.step != Step.KEY_NONCE))", "late.eq(aead & (modes.step == Step.TEXT))"),  # not the tag
        ("taken.eq(full & modes.sponge.reading & ~silent)", "taken.eq(full & modes.sponge.reading)"),  # bytes are lost
        ("(taken & waits) | (room & ~late)", "taken | (room & ~late)"),
        ("modes.o.ready.eq(gives | aead)", "modes.o.ready.eq(gives)"),
        ("modes.o.valid & (gives | aead)", "modes.o.valid & gives"),
    ],
)
def test_an_answer_at_another_time_is_noticed(old, new):
    with pytest.raises(Disproved, match="Assert failed"):
        prove(Answers(mutant(BufferedModes, old, new)), depth=3)


class Work(Buffered):
    """The sponge stands still for a permutation, or because it wants a byte that is not offered, or gives one that
    nobody takes. At rest, and while it gives a hash, it soon takes a start."""

    def properties(self, m, dut, modes):
        at, sponge = self.at, modes.sponge
        idle, silent = at(Step.IDLE), at(*SILENT)
        resting, _, permuting = phases = sponge.control[:3]
        wants = sponge.reading & ~silent & ~modes.i.valid & ~self.i_valid
        holds = at(Step.SQUEEZE) & ~self.o_ready
        moves = sponge.state.step | sponge.cmd.ready | idle | (modes.cmd.valid & modes.cmd.ready) | modes.clear
        waited, asked = Signal(5), Signal(2)
        waits = self.cmd_valid & ~dut.cmd.ready & (idle | at(Step.SQUEEZE))
        m.d.sync += waited.eq(Mux(self.clear | wants | holds | moves, 0, waited + 1))
        m.d.sync += asked.eq(Mux(waits & ~self.clear, asked + 1, 0))
        m.d.comb += [
            Assert(asked <= 1),
            Assert(waited <= ROUNDS + 2),
            Assert(~permuting | (waited <= sponge.state.round)),
            Assert(~resting | ((waited <= 2) & (sponge.state.round == ROUNDS))),
            Assert(sponge.state.round <= ROUNDS),
            Assert((phases == 0b001) | (phases == 0b010) | (phases == 0b100)),
            Assert(~idle | sponge.resting),
            Assert(at(*Step)),
            Assert(idle | (modes.mode.aead == ~at(*OF_HASHES))),
            Cover(waited == ROUNDS),
        ]


def test_it_goes_on():
    prove(Work(), depth=8)
    reach(Work(), depth=40)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("modes.o.valid & ~gives &", "modes.o.valid & gives &"),  # no byte of a hash is given
        ("modes.o.ready.eq(gives | aead)", "modes.o.ready.eq(gives)"),  # nor one for a text
        ("room.eq(~full |", "room.eq("),  # no item is kept
        ("begin.eq(self.cmd.valid & ~self.cmd.ready", "begin.eq(self.cmd.valid & self.cmd.ready"),  # no start is taken
    ],
)
def test_a_sponge_that_stands_still_is_noticed(old, new):
    with pytest.raises(Disproved, match="Assert failed"):
        prove(Work(mutant(BufferedModes, old, new)), depth=8)
