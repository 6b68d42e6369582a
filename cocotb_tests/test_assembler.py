"""The assembler, the optimizer and the linker: what a program becomes, and what is refused."""

import pytest
from ringpair_hdl.control import Field, Program, Scratchpad, isa
from ringpair_hdl.control.assembler import (
    BUTTON,
    CARRY,
    MATCH,
    TRNG_READY,
    ZERO,
    Direction,
    Op,
    Port,
    Unit,
    start_word,
)
from ringpair_hdl.control.isa import field as row
from ringpair_protocol.admin import Identity, Profile
from ringpair_protocol.derivations import CHECK, Derivation

from cocotb_tests.control_machine import Machine


def end(p):
    with p.Loop():
        p.control(Unit.MARK)


def told(p, **levels):
    """What the program sends to the port LINK, with and without the optimizer."""
    machines = [Machine(p.link(shorten=shorten), p.pad.init, {}, levels).run() for shorten in (False, True)]
    assert machines[0].events == machines[1].events
    return [event[1] for event in machines[1].events if event[0] == "link"]


def say(p, *values):
    p.emit(Port.LINK, *values)


@pytest.mark.parametrize("held", [0, 1])
def test_if_else_nests(held):
    p = Program()
    with p.routine("main", returns=False):
        with p.If(BUTTON):
            say(p, 1)
            with p.If(TRNG_READY):
                say(p, 2)
            with p.Else():
                say(p, 3)
            say(p, 4)
        with p.Else():
            with p.If(~TRNG_READY):
                say(p, 5)
        say(p, 6)
        end(p)
    assert told(p, BUTTON=held) == ([1, 3, 4, 6] if held else [5, 6])


def test_while_tests_first_and_loop_leaves():
    p = Program()
    count = p.pad.field("count", 1, init=b"\3")
    with p.routine("main", returns=False):
        p.compare(count, 0)
        with p.While(~ZERO):
            p.give(Port.LINK, count)
            p.add(count, 255)
        with p.While(~ZERO):
            say(p, 99)
        with p.Loop() as loop:
            p.add(count, 1)
            p.compare(count, 2)
            loop.again(ZERO)
            p.give(Port.LINK, count)
            p.compare(count, 4)
            loop.leave(CARRY)
        end(p)
    assert told(p) == [3, 2, 1, 1, 3, 4]


def test_calls_jumps_and_conditional_returns():
    p = Program()
    value = p.pad.field("value", 1)
    with p.routine("main", returns=False):
        for number in range(4):
            p.set(value, number)
            p.call("classify")
        p.compare(value, 3)
        p.call("equal", ZERO)
        p.call("classify", ~ZERO)
        end(p)
    with p.routine("classify"):
        p.compare(value, 1)
        p.jump("equal", ZERO)
        with p.If(~CARRY):
            p.ret()
        say(p, 2)
    with p.routine("equal"):
        say(p, 1)
    assert told(p) == [1, 2, 2, 1]


def test_branches_reach_every_distance():
    """Forward and back over all sizes of code around the limits of SKIP and of a page."""
    for length in (*range(6), 60, 119, 120, 121, 122, 123, 124, 125, 126, 127, 250, 400):
        for test in (ZERO, MATCH):
            p = Program()
            value = p.pad.field("value", 1)
            with p.routine("main", returns=False):
                p.compare(value, 0)
                with p.Loop() as loop:
                    with p.If(~test):
                        say(p, 1)
                        for k in range(length):
                            p.byte(Op.OR, value, k & 3)
                        say(p, 2)
                    p.add(value, 1)
                    p.compare(value, 0)
                    loop.leave(~CARRY)
                    loop.leave(CARRY)
                end(p)
            told(p)


def test_frequent_calls_take_a_byte():
    p = Program()
    with p.routine("main", returns=False):
        for number in range(4):
            say(p, number)
            p.call("often")
        end(p)
    with p.routine("often"):
        say(p, 1, 2, 3, 4, 5)
        p.control(Unit.SIDE, 1)
        p.control(Unit.SIDE, 0)
    before = len(p.link())
    p._code.insert(1, p._code[2])
    assert len(p.link()) == before + 1
    assert told(p) == [1, 2, 3, 4, 5, *[x for n in range(4) for x in (n, 1, 2, 3, 4, 5)]]


def test_common_pieces_are_written_once():
    def program(times):
        p = Program()
        a, b = p.pad.field("a", 16), p.pad.field("b", 16)
        with p.routine("main", returns=False):
            for number in range(times):
                say(p, number)
                for port in (Port.LINK, Port.SPI, Port.PUF):
                    p.give(port, a)
                    p.give(port, b)
            end(p)
        return p

    sizes = [len(program(n).link()) for n in (6, 7, 8)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] <= 4  # EMIT, and a call of what follows
    plain = [len(program(n).link(shorten=False)) for n in (7, 8)]
    assert plain[1] - plain[0] == 14


def test_neighboring_moves_are_one():
    p = Program()
    a, b = p.pad.field("a", 16, init=bytes(range(16))), p.pad.field("b", 16)
    with p.routine("main", returns=False):
        p.give(Port.LINK, a[:7])
        p.give(Port.LINK, a[7:])
        p.copy(b[:8], a[:8])
        p.copy(b[8:], a[8:])
        p.copy(a[2:5], a[0:3])  # overlap: byte by byte
        p.give(Port.LINK, b)
        end(p)
    assert told(p) == [*range(16), *range(16)]
    assert len(p.link()) < len(p.link(shorten=False))


def test_observer_sees_a_phase_only_where_it_begins():
    p = Program()
    with p.routine("main", returns=False):
        with p.If(BUTTON):
            p.phase(3)
        say(p, 1)
        p.phase(4)
        say(p, 2)
        end(p)
    rom = p.link()
    assert sorted(rom.phases.values()) == [3, 4]
    machine = Machine(rom, p.pad.init, {})
    seen = []
    while ("mark",) not in machine.events:
        seen += [rom.phases[machine.pc]] if machine.pc in rom.phases else []
        machine.step()
    assert seen == [4]


def refused(message, build):
    p = Program()

    def attempt():
        build(p)
        p.link()

    with pytest.raises(ValueError, match=message):
        attempt()


def routine(*body):
    def build(p):
        with p.routine("main"):
            for statement in body:
                statement(p)

    return build


def test_structure_is_checked():
    refused("the program has no routine", lambda p: None)
    refused("there is no routine 'nowhere'", routine(lambda p: p.call("nowhere")))
    refused("stands outside any routine", lambda p: p.ret())
    refused("Else stands directly behind an If", routine(lambda p: p.Else().__enter__()))
    refused("'main' is defined twice", lambda p: (routine()(p), routine()(p)))
    refused("stands inside 'main'", routine(lambda p: p.routine("other").__enter__()))


def test_recursion_is_refused():
    def build(p):
        for name, callee in (("main", "a"), ("a", "b"), ("b", "a")):
            with p.routine(name):
                p.call(callee)
                say(p, 1)

    refused("calls in a circle: main -> a -> b -> a", build)


@pytest.mark.parametrize("levels", [16, 17])
def test_depth_is_what_the_machine_needs(levels):
    def build(p):
        with p.routine("main", returns=False):
            p.call("1")
            end(p)
        for level in range(1, levels + 1):
            with p.routine(str(level)):
                say(p, level)
                if level < levels:
                    p.call(str(level + 1))
                say(p, level)

    if levels > 16:
        refused("calls nest 17 deep, the stack has 16 rows", build)
    else:
        p = Program()
        build(p)
        rom = p.link()
        assert rom.depth == Machine(rom, p.pad.init, {}).run().deepest == 16


def test_jumps_do_not_hide_depth_or_circles():
    def build(p):
        with p.routine("main"):
            p.call("a")
            say(p, 1)
        with p.routine("a"):
            p.jump("b")
        with p.routine("b"):
            p.call("a")
            say(p, 2)

    refused("calls in a circle", build)


def test_operands_are_checked():
    def field(p, length=1, name="f"):
        return p.pad.fields.get(name) or p.pad.field(name, length)

    refused("SET takes one byte, f has 2", routine(lambda p: p.byte(Op.SET, field(p, 2))))
    refused("an immediate is 0 to 255, not 256", routine(lambda p: p.add(field(p), 256)))
    refused("only 1 can be added, not 2", routine(lambda p: p.add(field(p, 4), 2)))
    refused("its new value 3", routine(lambda p: p.set(field(p, 2), bytes(3))))
    refused("f has 2 bytes, g has 3", routine(lambda p: p.less(field(p, 2), field(p, 3, "g"))))
    refused("g has 3 bytes, f has 2", routine(lambda p: p.copy(field(p, 2), field(p, 3, "g"))))
    refused("cannot be moved by one byte", routine(lambda p: p.copy(field(p, 3)[1:], field(p, 3)[:2])))
    refused(
        "cannot be moved by one byte",
        routine(
            lambda p: p.control(Unit.DEST, field(p, 9).address + 1),
            lambda p: p.move(Direction.CRYPT, Port.SPONGE, field(p, 9)[:8]),
        ),
    )
    refused("SET reaches the first 256 bytes, f lies at 300", routine(lambda p: p.set(Field("f", 300, 1), 0)))
    refused("a constant, nothing may write it", routine(lambda p: p.zero(p.pad.constant(b"1234")[1:])))
    refused("a constant, nothing may write it", routine(lambda p: p.set(p.pad.constant(b"1"), 0)))
    refused("there is no TAKE with PAD", routine(lambda p: p.take(Port.PAD, field(p))))
    refused("there is no CRYPT with PUF", routine(lambda p: p.move(Direction.CRYPT, Port.PUF, field(p))))
    refused("needs a DEST before it", routine(lambda p: p.move(Direction.CRYPT, Port.SPONGE, field(p))))
    refused("a label has 7 bytes, not 5", routine(lambda p: p.control(Unit.SPONGE, start_word(custom=1, z_len=5))))
    refused("the timer counts 0 to 1020 ticks", routine(lambda p: p.control(Unit.TIMER, 1021)))
    refused("the operand of OUTPUT is 0 to 255", routine(lambda p: p.output(on=16)))
    refused("not 33", routine(lambda p: p.give(Port.LINK, field(p, 33))))
    refused("takes", routine(lambda p: p.derive(CHECK, digest=field(p, 16))))
    refused("bits has 24 bytes, f has 16", routine(lambda p: p.derive(CHECK, digest=field(p, 16), bits=field(p, 16))))


def test_dest_stays_in_its_block():
    def build(p):
        f = p.pad.field("f", 4)
        with p.routine("main"):
            with p.If(ZERO):
                p.control(Unit.DEST, 3)
            p.move(Direction.CRYPT, Port.SPONGE, f)

    refused("DEST must be used in the block in which it is set", build)


def test_program_must_fit():
    p = Program()
    with p.routine("main", returns=False):
        for k in range(200):
            say(p, k)
        end(p)
    with pytest.raises(ValueError, match="bytes, the code memory 256"):
        p.link(capacity=256)


def test_scratchpad():
    pad = Scratchpad()
    a = pad.field("a", 4, init=b"abcd")
    assert (a.address, a[1:3].name, a[1:3].address, a[-1].length) == (0, "a[1:3]", 1, 1)
    assert pad.init[:4] == b"abcd"
    assert pad.constant(b"xy") == pad.constant(b"xy")
    with pytest.raises(ValueError, match="is empty"):
        a[4:]
    with pytest.raises(ValueError, match="there is a field 'a' already"):
        pad.field("a", 1)
    with pytest.raises(ValueError, match="has 3 bytes, its initial contents 2"):
        pad.field("b", 3, init=b"12")
    with pytest.raises(ValueError, match="no room for 'b'"):
        pad.field("b", 1020)
    for k in range(6):
        pad.field(f"hot{k}", 1, hot=1)
    with pytest.raises(ValueError, match="no room for 'hot'"):
        pad.field("hot", 1, hot=1)


@pytest.mark.parametrize(("length", "code"), [(0, 0), (1, 1), (31, 31), (32, 40), (64, 48), (124, 63)])
def test_rows(length, code):
    assert row(0x2A5, length) == bytes([0xA5, code << 2 | 2])


def pairing():
    from ringpair_hdl.program import pairing_program

    identity = Identity(Profile.PAIR, True, 12, bytes(8), bytes(8), 1)
    return pairing_program(identity, 91.6)[0]


def test_pairing_program_fits_six_block_rams():
    rom = pairing().link()
    assert len(rom) <= 6 * 512
    assert rom.depth <= 12


def test_more_labels_than_opcodes():
    """The rarest labels are given to the sponge by two instructions that do the same."""
    p = Program()
    key = p.pad.field("key", 16)
    labels = [f"P1-{number:04}".encode() for number in range(len(isa.LABEL_ROWS) + 1)]
    with p.routine("main", returns=False):
        for label in labels + labels[1:]:
            p.derive(Derivation(label, (("key", 16),), (("tag", 16),)), key=key)
            p.take(Port.SPONGE, key)
        end(p)
    queue = {"sponge": bytes(range(200)) * 8}
    events = Machine(p.link(), p.pad.init, queue).run().events
    starts = [k for k, event in enumerate(events) if event == ("start", isa.CUSTOM)]
    given = [bytes(byte for _, byte in events[k + 1 : k + 8]) for k in starts]
    assert given == labels + labels[1:]
    assert all(events[k + 8] == ("sponge", "end") for k in starts)
