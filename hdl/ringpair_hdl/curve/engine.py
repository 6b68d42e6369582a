"""The curve engine: sequencer, operand memory, multiplier and accumulator; what it computes is in its program."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ringpair_hdl.curve import isa
from ringpair_hdl.curve.assembler import Code
from ringpair_hdl.curve.constants import rom_words
from ringpair_hdl.curve.index import IndexGenerator
from ringpair_hdl.curve.isa import Form, Kind, Op, Pre, Word
from ringpair_hdl.curve.multiplier import Multiplier
from ringpair_hdl.curve.program import curve_program

__all__ = ["CurveEngine"]

BYTES = stream.Signature(8)
LIMB = 16
COUNTER = 8


class CurveEngine(wiring.Component):
    """Curve25519, Ed25519, Elligator 2 and SHA-512, one byte at a time from and to outside.

    A command is taken when it is done: `cmd` must hold it until `ready`, which comes in its last cycle. An unknown
    command is taken at once and does nothing. Commands and their cycles are in `README.md`; none of those that meet a
    secret depends on it in its duration.

    Parameters
    ----------
    mapped
        Use the UP5K's DSP cell. Without it: a multiplier of LUTs, and for simulation.
    code
        Another program, for tests.

    Attributes
    ----------
    clear : In(1)
        Whatever runs is given up (streams drop their offers), and when `clear` is low again the memory is overwritten.
        The same happens after reset, then with known-answer tests. Commands wait meanwhile.
    cmd : In(stream.Signature(8))
        `commands.Command`, or an `commands.OnElement` with the number of an element in the lower 5 bits.
    i, o : streams of bytes
    """

    def __init__(self, *, mapped: bool = False, code: Code | None = None):
        self.mapped = mapped
        self.words = (code or curve_program()).words
        super().__init__({"clear": In(1), "cmd": In(BYTES), "i": In(BYTES), "o": Out(BYTES)})

    def elaborate(self, platform):
        m = Module()
        self.fetch(m)
        self.decode(m)
        self.steps(m)
        self.sequence(m)
        self.pointers(m)
        self.addresses(m)
        self.operands(m)
        self.results(m)
        self.outside(m)
        return m

    # ------------------------------------------------------------------------------------------------ S0, control
    def fetch(self, m):
        """The two parts of the present word; `stale` while it is none, after reset and `clear`."""
        narrow = [word & ((1 << isa.NARROW_BITS) - 1) for word in self.words]
        wide = [word >> isa.NARROW_BITS for word in self.words[: isa.WIDE_WORDS]]
        m.submodules.code = code = Memory(shape=isa.NARROW_BITS, depth=isa.WORDS, init=narrow)
        m.submodules.wide = extension = Memory(shape=8, depth=isa.WIDE_WORDS, init=wide)
        self.code_port, self.wide_port = code.read_port(), extension.read_port()
        self.word = data.View(Word, Cat(self.code_port.data, self.wide_port.data))
        self.stale = Signal(init=1)

    def decode(self, m):
        """What the present word is."""
        word, live = self.word, ~self.stale
        self.control, self.compute = word.more.control, word.more.compute
        self.is_control, self.is_acc, self.is_x = (Signal(name=name) for name in ("is_control", "is_acc", "is_x"))
        m.d.comb += [
            self.is_control.eq((word.kind == Kind.CONTROL) & live),
            self.is_acc.eq(word.kind[0] & live),
            self.is_x.eq((word.kind == Kind.X) & live),
        ]
        self.op = {}
        for op in Op:
            self.op[op] = Signal(name=f"op_{op.name.lower()}")
            m.d.comb += self.op[op].eq(self.is_control & (self.control.op == op))

    def steps(self, m):
        """Repetitions, and waiting for what is outside."""
        self.index = index = IndexGenerator()
        m.submodules.index = ResetInserter(self.clear)(index)
        self.squaring, self.emitting = Signal(), Signal()
        self.takes, self.emits, self.stays = Signal(), Signal(), Signal()
        repeat = self.compute.repeat
        m.d.comb += [
            index.scan.eq((self.word.kind == Kind.SCAN) & ~self.stale),
            index.repeat.eq(Mux(self.is_control | self.stale, 0, Cat(repeat, repeat[2]))),
            index.squaring.eq(self.squaring),
            self.takes.eq(self.is_acc & (self.compute.form == Form.BYTE)),
            self.emits.eq(self.is_x & self.word.w[2]),
            self.stays.eq(
                index.more
                | self.op[Op.IDLE] & ~self.cmd.valid
                | self.takes & ~self.i.valid
                | self.emits & ~(self.emitting & self.o.ready)
            ),
        ]

    def sequence(self, m):
        """Next word, return stack, counter."""
        op, target = self.op, self.control.target
        following, address, command = Signal(10), Signal(10), Signal(6)
        counter, ring, flag = Signal(COUNTER), Signal(), Signal()
        self.counter, self.ring, self.flag = counter, ring, flag
        idle, call, taken = op[Op.IDLE], Signal(), Signal()
        stack = [Signal(10, name=f"return_{level}") for level in range(isa.STACK)]
        plain = self.cmd.payload[5:] == 0
        m.d.comb += [
            command.eq(Cat(Mux(plain, self.cmd.payload[:5], Cat(self.cmd.payload[5:], Const(3, 2))), plain)),
            call.eq(self.is_control & self.control.op[2:].all()),
            taken.eq(
                op[Op.JUMP]
                | call
                | op[Op.COUNT] & counter.any()
                | op[Op.IF_FLAG] & flag
                | op[Op.IF_LOW] & ~counter[4:].any()
            ),
            address.eq(
                Mux(
                    idle,
                    Cat(command, Const(isa.DISPATCH >> 6, 4)),
                    Mux(taken, target, Mux(op[Op.RETURN], stack[0], following)),
                )
            ),
            self.code_port.addr.eq(address),
            self.wide_port.addr.eq(address[:9]),
            self.code_port.en.eq(~self.stays),
            self.wide_port.en.eq(~self.stays),
        ]
        m.d.sync += self.stale.eq(self.clear)
        with m.If(self.clear):
            m.d.sync += following.eq(isa.WIPE)
        with m.Elif(~self.stays):
            m.d.sync += following.eq(address + 1)
        with m.If(call | op[Op.RETURN]):
            for level, (above, below) in enumerate(zip([following, *stack], [*stack[1:], Const(0, 10)], strict=False)):
                m.d.sync += stack[level].eq(Mux(call, above, below))
        with m.If(op[Op.LOAD]):
            m.d.sync += [counter.eq(Cat(self.word.a[:4], self.word.b[:4])), ring.eq(self.word.w[0])]
        with m.Elif(op[Op.COUNT]):
            m.d.sync += counter.eq(counter - 1)
        with m.Elif(op[Op.LOAD_X]):
            m.d.sync += ring.eq(1)

    def pointers(self, m):
        """Pointers to elements: of a call, or the element of a command."""
        word, op = self.word, self.op
        self.pointer_a, self.pointer_b, self.pointer_w = Signal(5), Signal(6), Signal(5)
        point = Signal()
        element = self.cmd.payload[:5] & op[Op.IDLE].replicate(5)
        m.d.comb += point.eq(self.is_control & self.control.op[1:].all() | op[Op.IDLE])
        with m.If(point):
            m.d.sync += [
                self.pointer_a.eq(word.a | element),
                self.pointer_b.eq(word.b | element),
                self.pointer_w.eq(word.w | element),
                self.squaring.eq(self.control.op[0]),
            ]

    # ------------------------------------------------------------------------------------------------ S0, addresses
    def addresses(self, m):
        """Addresses in the memory: {element, limb} plus index, within groups of four elements."""
        word, index = self.word, self.index
        fixed = word.b[3:].all()
        self.address_a = self.place(m, "a", word.a, word.a_limb, self.pointer_a, index.i)
        self.address_b = self.place(m, "b", word.b, word.b_limb, self.pointer_b, Mux(fixed, 0, index.j))
        self.address_w = self.place(m, "w", word.w, self.compute.w_limb, self.pointer_w, index.k)

    def place(self, m, name, field, limb, pointer, index):
        """One address. Ring mode adds 4 limbs times the counter, to elements below 16 and to constants below 56."""
        element, offset = Signal(len(field), name=f"{name}_element"), Signal(6, name=f"{name}_offset")
        low, address = Signal(6, name=f"{name}_low"), Signal(len(field) + 4, name=f"{name}_address")
        constant = element[5] if len(element) > 5 else Const(0)
        ringed = self.ring & ~(element[4] & Mux(constant, element[3], 1))
        swaps = self.flag & ~element[2:].any()
        pointed = field[2:] == isa.POINTER >> 2
        turned = Mux(ringed, Cat(Const(0, 2), self.counter), 0)
        page = element[2:] | Mux(constant & ringed, Cat(self.counter[4:7], Const(0, 1)), 0)
        m.d.comb += [
            element.eq(Mux(pointed, pointer, field)),
            offset.eq(index | turned),
            low.eq(Cat(limb, element[0] ^ swaps, element[1]) + offset),
            address.eq(Cat(low, page[: len(element) - 2])),
        ]
        return address

    # ------------------------------------------------------------------------------------------------ S1
    def operands(self, m):
        """Memory reads, multiplier and X."""
        word, compute, index = self.word, self.compute, self.index
        # One memory for each read port; that of B has the constants in its upper half.
        m.submodules.memory_a = memory_a = Memory(shape=LIMB, depth=512, init=[])
        m.submodules.memory_b = memory_b = Memory(shape=LIMB, depth=1024, init=[0] * 512 + rom_words())
        port_a, port_b = memory_a.read_port(), memory_b.read_port()
        self.writers = memory_a.write_port(), memory_b.write_port()
        self.limb_a, limb_b = port_a.data, port_b.data
        m.d.comb += [port_a.addr.eq(self.address_a), port_b.addr.eq(self.address_b)]

        def stage(name, value):
            register = Signal(len(Value.cast(value)), name=f"s1_{name}")
            m.d.sync += register.eq(value)
            return register

        def form(*forms):
            return Cat(compute.form == form for form in forms).any()

        # The factor, decoded to what LUTs with four inputs need of it: 1, 19 and 38 have few bits in common.
        by_38 = stage("by_38", form(Form.B_TIMES_38, Form.A_PLUS_B_TIMES_38))
        by_19 = stage("by_19", form(Form.B_TIMES_19))
        bit_0 = stage("bit_0", form(Form.B, Form.A_PLUS_B, Form.X_PLUS_B, Form.B_TIMES_19))
        bit_1 = stage("bit_1", form(Form.B_TIMES_19, Form.B_TIMES_38, Form.A_PLUS_B_TIMES_38))
        by_a = stage("by_a", form(Form.A_TIMES_B))
        add_a = stage("add_a", form(Form.A_PLUS_B, Form.A_PLUS_B_TIMES_38))
        add_x = stage("add_x", self.is_acc & form(Form.X_PLUS_B))
        self.taking = stage("taking", self.takes & self.i.valid & ~self.clear)
        self.s1 = {
            "sub": stage("sub", compute.sub),
            "acc": stage("acc", self.is_acc),
            "hold": stage("hold", (compute.pre == Pre.HOLD) | compute.pre[1] & self.vector() & index.holds),
            "shift": stage("shift", compute.pre[1] & ~(self.vector() & index.holds)),
            "write": stage("write", self.is_acc & (word.w[2:] != isa.NOWHERE >> 2) & index.ends),
            "flag": stage("flag", self.is_acc & compute.flag),
            "double": stage("double", index.double),
            "address": stage("address", self.address_w),
        }
        xors, selects = (stage(f"x_{n}", self.is_x & word.w[n]) for n in (0, 1))
        distance = stage("distance", compute.w_limb)

        m.submodules.multiplier = self.multiplier = multiplier = Multiplier(mapped=self.mapped)
        x, shifted = Signal(LIMB), Signal(LIMB)
        constant = Cat(bit_0, bit_1, by_38, Const(0, 1), by_19, by_38)
        m.d.comb += [
            multiplier.a.eq(
                Mux(by_a, self.limb_a, 0) | constant | Cat(Const(0, 8), Mux(self.taking, self.i.payload, 0))
            ),
            multiplier.b.eq(limb_b),
            multiplier.d.eq(Mux(add_a, self.limb_a, 0) | Mux(add_x, x, 0)),
            multiplier.sub.eq(self.s1["sub"]),
            shifted.eq(Cat(limb_b, self.limb_a) >> distance),
        ]
        with m.If(add_x):
            m.d.sync += x.eq(0)
        with m.Elif(xors):
            m.d.sync += x.eq(x ^ shifted)
        with m.Elif(selects):
            m.d.sync += x.eq((x & self.limb_a) | (~x & limb_b))
        with m.If(self.op[Op.LOAD_X]):
            m.d.sync += self.counter[:4].eq(x[:4])

    def vector(self):
        """The instruction has more than one step."""
        return self.index.scan | self.index.repeat.any()

    # ------------------------------------------------------------------------------------------------ S2
    def results(self, m):
        """Accumulator, flag and memory writes."""
        s2 = {}
        for name, source in self.s1.items():
            s2[name] = Signal(len(source), name=f"s2_{name}")
            m.d.sync += s2[name].eq(source)
        width = isa.ACCUMULATOR
        product = self.multiplier.p
        accumulator, base, addend, total = (Signal(width, name=n) for n in ("accumulator", "base", "addend", "total"))
        negative = s2["sub"] & product[31]
        upper = Cat(accumulator[LIMB:], accumulator[-1].replicate(LIMB))
        m.d.comb += [
            base.eq(Mux(s2["hold"], accumulator, 0) | Mux(s2["shift"], upper, 0)),
            addend.eq(Mux(s2["double"], Cat(Const(0, 1), product), Cat(product, negative.replicate(width - 32)))),
            total.eq(base + addend),
        ]
        with m.If(s2["acc"]):
            m.d.sync += accumulator.eq(total)
        with m.If(s2["flag"]):
            m.d.sync += self.flag.eq(total[LIMB])
        for writer in self.writers:
            m.d.comb += [writer.addr.eq(s2["address"]), writer.data.eq(total), writer.en.eq(s2["write"])]

    # ------------------------------------------------------------------------------------------------ streams
    def outside(self, m):
        """A byte is taken in S1, when the multiplier uses it; one is offered while its limb stands at port A."""
        m.d.sync += self.emitting.eq(self.emits & ~(self.emitting & self.o.ready) & ~self.clear)
        m.d.comb += [
            self.cmd.ready.eq(self.op[Op.DONE]),
            self.i.ready.eq(self.taking),
            self.o.valid.eq(self.emitting),
            self.o.payload.eq(self.limb_a[:8]),
        ]
