"""Proofs of the PUF: windows are exact, rings run one at a time; NEXT keeps the budget; all commands end; `clear`."""

import json
import random
import tempfile
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from ringpair_hdl.puf.engine import Command, PufEngine
from ringpair_hdl.puf.microcode import Action, Condition
from ringpair_hdl.puf.program import control_words
from ringpair_hdl.puf.quantizer import STEPS, Comparator
from ringpair_hdl.puf.rings import RingReader
from ringpair_protocol import puf

from formal.prove import YOSYS, Disproved, mutant, prove, reach, run
from formal.puf_control import COUNTS, RESETS_N, STEPS_N, TO_BYTE, Control, Endless
from formal.waits import OF_PUF, Turn

WINDOW = 5
LENGTH = WINDOW + RingReader.CYCLES


class ReaderProperties(wiring.Component):
    """Any starts, places and clears."""

    start: In(1)
    clear: In(1)
    index: In(6)

    def __init__(self, reader=RingReader):
        self.dut = reader(WINDOW)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        read, rings = dut.read, dut.rings
        m.d.comb += [read.start.eq(self.start), read.clear.eq(self.clear), read.index.eq(self.index)]

        # Cycles since the last start; 0 when none is under way. The place stays as it was at the start.
        age, held = Signal(range(LENGTH + 1)), Signal(6)
        with m.If(self.start):
            m.d.sync += [age.eq(1), held.eq(self.index)]
        with m.Elif(self.clear | (age == LENGTH - 1)):
            m.d.sync += age.eq(0)
        with m.Elif(age != 0):
            m.d.sync += age.eq(age + 1)
        with m.If(age != 0):
            m.d.comb += Assume(self.start | (self.index == held))

        running = Signal()
        first = 2 + RingReader.SETTLE
        m.d.comb += running.eq((age >= first) & (age < first + WINDOW))
        with m.If(running):
            m.d.comb += Assert(rings.row == 1 << held[:2])
            m.d.comb += Assert(rings.half == Mux(held[5], 2, 1))
            with m.If(held[2:5] < 6):
                m.d.comb += Assert(rings.col == 1 << held[2:5])
            m.d.comb += Assert(~rings.clear)
        ended = Signal()  # the line drops one cycle after an early end
        m.d.sync += ended.eq(self.start | self.clear)
        with m.If(~running & ~ended):
            m.d.comb += Assert(rings.row == 0)
        for lines in (rings.row, rings.col, rings.half):
            m.d.comb += Assert((lines & (lines - 1)[: len(lines)]) == 0)
        m.d.comb += Assert(read.done == (age == LENGTH - 1))
        m.d.comb += Cover(read.done)
        return m


def test_reader():
    prove(ReaderProperties(), depth=2 * LENGTH + 4, induction=False)
    reach(ReaderProperties(), depth=LENGTH + 2)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("timer == cycles - 1", "timer == cycles"),
        ("phase == Phase.RUN,", "phase == Phase.REST,"),
        ("read.done.eq(ends)", "read.done.eq(ends | read.clear)"),
        ("Cat(~half, half)", "Cat(half, half)"),
    ],
)
def test_reader_can_fail(text, wrong):
    with pytest.raises(Disproved):
        prove(ReaderProperties(mutant(RingReader, text, wrong)), depth=2 * LENGTH, induction=False)


def with_budget_properties(engine=PufEngine, budget=20):
    """The engine with free inputs (any commands, streams, counts, clears), and what is asserted of its search."""

    class Checked(engine):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            # The order of the stream: a command stays until it is taken.
            waiting, last = Signal(), Signal(3)
            m.d.sync += [waiting.eq(self.cmd.valid & ~self.cmd.ready), last.eq(self.command)]
            with m.If(waiting):
                m.d.comb += Assume(self.cmd.valid & (self.command == last))
            # A valid instruction of NEXT advances only below the budget, and refuses only without a next candidate.
            live, held = Signal(), Signal(3)
            m.d.comb += live.eq(~m.submodules.sequencer.stale & ~self.clear & self.command[2])
            m.d.sync += held.eq(Cat(waiting, held))  # NEXT comes to both only cycles after the command
            nothing_left = (self.tries == 0) | (self.tries == budget)
            for action, right in ((Action.COUNT, ~nothing_left), (Action.REFUSE, nothing_left)):
                reached = Signal(name=f"reached_{action.name}")
                m.d.comb += reached.eq(live & held.all() & self.action(action))
                with m.If(reached):
                    m.d.comb += Assert(right)
                m.d.comb += Cover(reached)
            return m

    return Checked(budget=budget)


def test_next_keeps_the_budget():
    prove(with_budget_properties(), depth=4)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("self.tries == self.budget)", "self.tries == self.budget + 1)"),
        ("(self.tries == 0) | (self", "(self"),
    ],
)
def test_next_can_pass_the_budget(text, wrong):
    """The induction notices, although no short run from reset shows it."""
    with pytest.raises(Disproved):
        prove(with_budget_properties(mutant(PufEngine, text, wrong)), depth=4)


# ---------------------------------------------------------------------------------------- every command ends

BUDGET = puf.SEARCH_BUDGET
BOUNDS = (540, 8_520, 18_740, 5_881, 630, 1_700, 456, 10)
"""Cycles of each command, by number; without waiting for streams and rings. The last one has no meaning."""
RECONSTRUCT, BITS, NEXT = Command.RECONSTRUCT.value, Command.BITS.value, Command.NEXT.value


def engine_that_rests(words, budget):
    """Any counts and entries are read; any words are left of another search."""
    noise = random.Random(budget)
    engine = Control(words, budget, entry=lambda: noise.getrandbits(9))
    engine.search[1:] = [noise.getrandbits(9) for _ in engine.search[1:]]
    return engine


def check_bytes(engine, command):
    """As many went in and out as the control program counts with."""
    turn = next((turn for known, turn in OF_PUF.items() if known.value == command), Turn())
    assert (engine.took, engine.gave) == (turn.give, turn.take), f"bytes of command {command}"


def check_ends(words, budget=BUDGET):
    """All commands in all orders, as far as a later one can tell what came before."""
    before = [engine_that_rests(words, budget)]
    for setup in ([RECONSTRUCT], [RECONSTRUCT, NEXT, NEXT], [Command.MEASURE_16.value]):
        before.append(before[0].copy())
        for command in setup:
            before[-1].command(command, BOUNDS[command])
    for command in set(range(8)) - {NEXT}:
        ends = set()
        for start in before:
            engine = start.copy()
            took = engine.command(command, BOUNDS[command])
            stays = engine.key() == start.key() and command in (BITS, 7)
            ends.add((took, () if stays else engine.key()))
            check_bytes(engine, command)
        assert len(ends) == 1, "a command hangs on what came before"
    search = before[1]
    while search.tries < budget:
        tries = search.tries
        search.command(NEXT, BOUNDS[NEXT])
        assert search.tries == tries + 1
        check_bytes(search, NEXT)
    key = search.key()
    search.command(NEXT, BOUNDS[NEXT])
    assert search.key() == key, "refused"


def test_commands_end():
    """With streams served; what waits for a stream or the rings stands still."""
    check_ends(control_words(puf.Quantizer()))


@pytest.mark.slow
def test_the_longest_search_ends():
    check_ends(control_words(puf.Quantizer()), puf.MAX_BUDGET)


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("p.do(Action.BIT)", "p.do()"),
        ("p.do(Action.NEXT_N)", "p.do()"),
        ('p.do(Action.STORE, Condition.NOT_LAST, "enroll ring")', 'p.do(target="enroll ring")'),
        ('p.jump(Condition.BORROW, "push")', 'p.do(target="push")'),
        ('p.do(Action.COUNT, Condition.COMMAND_0, "more")', 'p.do(Action.PREPARE, Condition.COMMAND_0, "more")'),
    ],
)
def test_a_command_without_end_is_noticed(text, wrong):
    with pytest.raises(Endless):
        check_ends(mutant(control_words, text, wrong)(puf.Quantizer()))


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")
def test_a_byte_that_does_not_come_is_noticed():
    wrong = mutant(control_words, 'p.do(Action.EMIT, Condition.NOT_TAKEN, "emit")', "p.do()")
    with pytest.raises(AssertionError, match="bytes of command 4"):
        check_ends(wrong(puf.Quantizer()))


def with_control_properties(engine=PufEngine):
    """The engine with free inputs, and what `formal/puf_control.py` takes for granted: its way, and its counts."""

    class Checked(engine):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            sequencer = self.sequencer
            sequencer.elaborate, elaborate = lambda platform: self.way(elaborate(platform)), sequencer.elaborate
            self.counters(m, sequencer.stale)
            return m

        def way(self, m):
            """``pc`` is where the present word was read, or that of the LEVEL whose word it is."""
            sequencer, address = self.sequencer, m.submodules.control.read_ports[0].addr
            stale, loading, word = sequencer.stale, sequencer.loading, sequencer.instruction
            pc, jumps, asks, following = Signal(7), Signal(), Signal(), Signal(7)
            m.d.comb += [
                jumps.eq(~loading & ~word[14:].all() & sequencer.conditions.bit_select(word[7:11], 1)),
                asks.eq(sequencer.level & ~stale),  # the next word is no instruction
                following.eq(Mux(stale, 0, Mux(jumps, word[:7], pc + 1))),
                Assert(asks | (address == Cat(following, sequencer.page))),
                Assume(~(loading & sequencer.level)),  # the upper bits of levels and entries are no LEVEL
            ]
            with m.If(~asks):
                m.d.sync += pc.eq(following)
            restarts = Signal()
            m.d.sync += restarts.eq(self.clear)
            m.d.comb += [Assert(~restarts | stale), Assert(~(loading & stale))]
            return m

        def counters(self, m, stale):
            n, bits, tries = Signal(8), Signal(3), Signal(len(self.tries))
            cleared = self.clear | stale | self.action(Action.FORGET)
            in_row = self.action(Action.ROW) | (self.action(Action.ADD) & (n[:4] != 0))
            m.d.sync += n.eq(Mux(in_row, Cat((n[:4] + 1)[:4], n[4:]), n + self.action(*STEPS_N)))
            m.d.sync += bits.eq(bits + self.action(*TO_BYTE))
            m.d.sync += tries.eq(tries + self.action(Action.COUNT))
            with m.If(cleared | self.action(*RESETS_N)):
                m.d.sync += n.eq(0)
            with m.If(cleared):
                m.d.sync += bits.eq(0)
            with m.If(cleared | self.action(Action.PREPARE)):
                m.d.sync += tries.eq(0)
            with m.If(~stale):  # there they are about to be cleared
                m.d.comb += [Assert(self.n == n), Assert(self.bits == bits), Assert(self.tries == tries)]
            with m.If(self.action(Action.WIPE) & ~stale):
                m.d.comb += Assert(self.writer.en & (self.writer.addr == n) & (self.writer.data == 0))
            last = (self.tries == 0) | (self.tries == self.budget)
            right = {
                Condition.ALL: n >= COUNTS,
                Condition.IN_ROW: n[:4] != 0,
                Condition.NOT_LAST: n[:4] != 15,
                Condition.IN_BYTE: bits != 0,
                Condition.LIMIT: Mux(self.command[2], last, self.tries[4]),
                Condition.ALWAYS: 1,
                Condition.NEVER: 0,
            }
            for condition, value in right.items():
                m.d.comb += Assert(stale | (self.sequencer.conditions[condition.value] == value))

    return Checked(budget=BUDGET)


def test_control_is_as_told():
    prove(with_control_properties(), depth=3)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("following.eq(Mux(self.clear, 0, address + ~level))", "following.eq(address + ~level)"),
        ("Mux(taken, jump.target, following)", "Mux(holds, jump.target, following)"),
        ("self.n[6:].all()", "self.n[5:].all()"),
        ("step & last_in_row", "step & n[:3].all()"),
        ("replace.eq(self.action(Action.WIPE, Action.STORE)", "replace.eq(self.action(Action.STORE)"),
    ],
)
def test_control_can_be_wrong(text, wrong):
    with pytest.raises(Disproved):
        prove(with_control_properties(mutant(PufEngine, text, wrong)), depth=3)


class SteppedComparator(wiring.Component):
    """`last` comes 19 steps after a load."""

    load: In(1)
    step: In(1)

    def __init__(self):
        self.dut = Comparator()
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        steps, known = Signal(range(STEPS + 2)), Signal()
        m.d.comb += [dut.load.eq(self.load), dut.step.eq(self.step & ~self.load)]
        with m.If(self.load):
            m.d.sync += [steps.eq(0), known.eq(1)]
        with m.Elif(self.step):
            m.d.sync += steps.eq(steps + 1)
            m.d.comb += Assume(steps != STEPS + 1)
        m.d.comb += Assert(~known | (dut.last == (steps == STEPS)))
        return m


def test_comparator_ends():
    prove(SteppedComparator(), depth=STEPS + 3, induction=False)


# ---------------------------------------------------------------------------------------- nothing is left by `clear`


def flip_flops(component):
    """Name of each register, and whether it is reset in any cycle with `clear`, whatever else is."""
    with tempfile.TemporaryDirectory(prefix="ringpair-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(rtlil.convert(component, name="top"))
        script = "hierarchy -top top; proc; flatten; opt_expr; opt_clean; opt_dff; opt_clean; write_json top.json"
        done = run([*YOSYS, "-q", "-p", f"read_rtlil top.il; {script}"], folder)
        assert not done.returncode, done.stdout
        netlist = json.loads((folder / "top.json").read_text())["modules"]["top"]
    drivers = {
        bit: (cell, place)
        for cell in netlist["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "output"
        for place, bit in enumerate(bits)
    }
    (clear,) = netlist["ports"]["clear"]["bits"]

    def surely(bit):
        """It is 1 while `clear` is: an OR in whose cone that is."""
        if bit in (clear, "1"):
            return True
        cell, place = drivers.get(bit, ({"type": ""}, 0))
        ins = cell.get("connections", {})
        if cell["type"] == "$or":
            return any(surely(ins[port][place]) for port in "AB" if place < len(ins[port]))
        if cell["type"] in ("$logic_or", "$reduce_or", "$reduce_bool"):
            return any(surely(bit) for port in "AB" for bit in ins.get(port, ()))
        return False

    names = {bit: name for name, wire in netlist["netnames"].items() for bit in wire["bits"] if "$" not in name}
    found = {}
    for cell in netlist["cells"].values():
        if "dff" in cell["type"]:
            resets, ins = cell["type"].startswith("$sdff"), cell["connections"]
            right = resets and int(cell["parameters"]["SRST_POLARITY"], 2) == 1 and surely(ins["SRST"][0])
            found |= dict.fromkeys((names[bit].rpartition(".")[2] for bit in ins["Q"]), right)
    return found


KEPT = {"data", "loading", "stale"}
"""Not reset by `clear`: `data` is read anew while the memory is wiped, the others are set and reset by themselves."""


def check_registers(engine):
    found = flip_flops(engine())
    assert len(found) > 10
    assert {name for name, cleared in found.items() if not cleared} == KEPT


def test_clear_resets_registers():
    check_registers(PufEngine)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("self.p = Signal(9)", "self.p = Signal(9, reset_less=True)"),
        ("ResetInserter(self.clear | sequencer.stale |", "ResetInserter(sequencer.stale |"),
    ],
)
def test_a_register_that_stays_is_noticed(text, wrong):
    with pytest.raises(AssertionError):
        check_registers(mutant(PufEngine, text, wrong))


class Wiping(Control):
    """Whose memory is known to be zero where it was wiped."""

    def __init__(self, words):
        super().__init__(words, BUDGET)
        self.wiped = set()

    def _word(self, place):
        return 0 if place in self.wiped else 0x5EC

    def _do(self, action):
        assert action not in (Action.STORE, Action.COLLECT)
        super()._do(action)
        if action is Action.WIPE:
            self.wiped.add(self.n - 1 & 255)

    def _access(self, word):
        raise AssertionError("wiping needs no access")


def check_wiping(words):
    """After a reset, and after the command: all words are zero, and what was read last is one of them."""
    for start in (Wiping.reset, lambda engine: engine.command(Command.CLEAR.value)):
        engine = Wiping(words)
        start(engine)
        assert engine.wiped == set(range(256)), "a word that is not wiped"
        assert not engine.data, "what was read before it was wiped"


def test_memory_is_wiped():
    check_wiping(control_words(puf.Quantizer()))


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("p.label(last)\n    p.do(Action.WIPE, Condition.ALL, last)", "p.label(last)\n    p.do(Action.WIPE)"),
        ("p.do(Action.FORGET)\n    overwrite(p)", "p.do(Action.FORGET)"),
    ],
)
def test_a_word_that_stays_is_noticed(text, wrong):
    with pytest.raises(AssertionError):
        check_wiping(mutant(control_words, text, wrong)(puf.Quantizer()))
