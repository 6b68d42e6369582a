"""The sequencer against the interpreter of `control_machine`: every instruction, random programs, stalls, timing."""

import random
import warnings

import cocotb
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In
from cocotb.triggers import FallingEdge, ReadOnly
from ringpair_hdl.control import Program, Sequencer, isa
from ringpair_hdl.control.assembler import (
    ADMIN_FRAME,
    BUTTON,
    BUTTON_LONG,
    BUTTON_SHORT,
    CARRY,
    MATCH,
    ONES,
    PEER_FRAME,
    PUF_DEAD,
    PUF_EXHAUSTED,
    TIMER_DONE,
    TRNG_ALARM,
    TRNG_READY,
    ZERO,
    ZEROS,
    Direction,
    Op,
    Port,
    Unit,
    start_word,
)
from ringpair_protocol.derivations import AUTH, EPOCH

from cocotb_tests.control_machine import Machine
from cocotb_tests.harness import Bench, simulate

QUEUES = {"sponge": "sponge_o", "link": "link_o", "spi": "spi_o", "puf": "puf_o", "trng": "trng_o"}
LEVELS = {
    "PUF_EXHAUSTED": "puf_exhausted",
    "PUF_DEAD": "puf_dead",
    "TRNG_ALARM": "trng_alarm",
    "TRNG_READY": "trng_ready",
    "BUTTON": "button",
    "length": "length",
    "error": "error",
}
OUTSIDE = (ADMIN_FRAME, PEER_FRAME, PUF_EXHAUSTED, PUF_DEAD, TRNG_ALARM, TRNG_READY, BUTTON)
BYTES = stream.Signature(8)


class Socket(wiring.Component):
    """The sequencer with its two sponge streams joined, as those of a sponge are in a CRYPT."""

    def __init__(self, program, rom=None):
        self.sequencer = Sequencer(rom or program.link(), program.pad.init)
        super().__init__(self.sequencer.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.sequencer = seq = self.sequencer
        for name, member in self.signature.members.items():
            if not name.startswith("sponge_") or name in ("sponge_cmd", "sponge_clear"):
                inner, outer = getattr(seq, name), getattr(self, name)
                if member.is_signature:
                    pair = (inner, wiring.flipped(outer))
                    wiring.connect(m, *pair)
                else:
                    m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        joined = seq.sponge_i.valid & seq.sponge_o.ready
        m.d.comb += [
            self.sponge_i.payload.eq(seq.sponge_i.payload),
            self.sponge_i.valid.eq(seq.sponge_i.valid & (self.sponge_o.valid | ~joined)),
            seq.sponge_i.ready.eq(self.sponge_i.ready & (self.sponge_o.valid | ~joined)),
            seq.sponge_o.payload.eq(self.sponge_o.payload),
            seq.sponge_o.valid.eq(self.sponge_o.valid),
            self.sponge_o.ready.eq(seq.sponge_o.ready & (self.sponge_i.ready | ~joined)),
        ]
        return m


async def world(dut, bench, inputs, levels, stall, limit):
    """Drives every port with random pauses until MARK; returns the events and the cycles it took."""
    queues = {name: list(inputs.get(name, b"")) for name in QUEUES}
    for name, port in LEVELS.items():
        getattr(dut, port).value = int(levels.get(name, 0))
    dut.frames.value = int(levels.get("ADMIN_FRAME", 0)) | int(levels.get("PEER_FRAME", 0)) << 1
    events, shown = [], {"select": 0, "side": 0, "output": 0}
    valid = dict.fromkeys(queues, False)
    for cycle in range(limit):
        for name, port in QUEUES.items():
            valid[name] = bool(queues[name]) and (valid[name] or bench.random.random() >= stall)
            valid[name] &= not (name == "trng" and levels.get("TRNG_ALARM"))
            getattr(dut, port + "__valid").value = int(valid[name])
            getattr(dut, port + "__payload").value = queues[name][0] if valid[name] else bench.random.randrange(256)
        for port in ("sponge_i", "link_i", "spi_i", "puf_i", "sponge_cmd", "puf_cmd"):
            getattr(dut, port + "__ready").value = int(bench.random.random() >= stall)
        await FallingEdge(dut.clk)
        await ReadOnly()

        def moves(port):
            return int(getattr(dut, port + "__valid").value) and int(getattr(dut, port + "__ready").value)

        for name in ("link", "spi", "puf"):
            if moves(name + "_i"):
                events.append((name, int(getattr(dut, name + "_i__payload").value)))
        if moves("sponge_i"):
            item = int(dut.sponge_i__payload.value)
            events.append(("sponge", "end" if item >> 8 else item))
        if moves("sponge_cmd"):
            payload = int(dut.sponge_cmd__payload.value)
            assert payload >> 5 == 7, "a label has 7 bytes"
            events.append(("start", payload & 31))
        if moves("puf_cmd"):
            events.append(("command", int(dut.puf_cmd__payload.value)))
        for strobe in ("sponge_clear", "send", "drop", "mark"):
            if int(getattr(dut, strobe).value):
                events.append((strobe.removeprefix("sponge_"),))
        now = {"select": int(dut.spi_select.value), "side": int(dut.side.value), "output": int(dut.output.value)}
        events += [(name, value) for name, value in now.items() if shown[name] != value]
        shown = now
        for name, port in QUEUES.items():
            if valid[name] and moves(port):
                queues[name].pop(0)
                valid[name] = False
        await bench.cycles(1)
        if ("mark",) in events:
            return events, cycle
    raise AssertionError(f"the program does not end within {limit} cycles; last events: {events[-20:]}")


def changes(events):
    """Registers tell of changes only."""
    shown, out = {"select": 0, "side": 0, "output": 0}, []
    for name, *rest in events:
        if name in shown:
            value = shown[name] & ~rest[0] | rest[1] if name == "output" else rest[0]
            if value == shown[name]:
                continue
            shown[name], rest = value, [value]
        out.append((name, *rest))
    return out


def in_order(events):
    """PUF commands are taken by the engine whenever it is ready: apart from the rest."""
    return [e for e in events if e[0] != "command"], [e for e in events if e[0] == "command"]


@cocotb.test()
async def runs(dut):
    """The case of `parameters`: its events must be those of the interpreter."""
    bench = await Bench.start(dut)
    case = bench.parameters
    inputs = {name: bytes.fromhex(data) for name, data in case["inputs"].items()}
    events, cycles = await world(dut, bench, inputs, case["levels"], case["stall"], case["limit"])
    expected = [tuple(event) for event in case["events"]]
    for got, wanted in zip(in_order(events), in_order(expected), strict=True):
        for number, pair in enumerate(zip(got, wanted, strict=False)):
            assert pair[0] == pair[1], f"event {number}: {pair[0]}, not {pair[1]}; before: {got[:number][-8:]}"
        assert len(got) == len(wanted)
    if case["cycles"] is not None:
        assert cycles == case["cycles"], f"{cycles} cycles, not {case['cycles']}"


def compare(program, *, inputs=None, levels=None, stall=0.3, limit=60_000, cycles=None, rom=None):
    """Run a program on both machines; it must end with MARK. The scratchpad is given to a port at the end."""
    inputs, levels = inputs or {}, levels or {}
    machine = Machine(program.link(), program.pad.init, inputs, levels).run()
    plain = Machine(program.link(shorten=False), program.pad.init, inputs, levels).run()
    assert plain.events == machine.events, "the optimizer changed the program"
    parameters = {
        "inputs": {name: bytes(data).hex() for name, data in inputs.items()},
        "levels": levels,
        "stall": stall,
        "limit": limit,
        "cycles": cycles,
        "events": changes(machine.events),
    }
    simulate(Socket(program, rom), __name__, tests=["runs"], parameters=parameters)
    return machine


def show(p):
    """All of the scratchpad to the port, then the end."""
    for start in range(0, p.pad.size, 32):
        p.give(Port.LINK, wide(p)[start : start + 32])
    with p.Loop():
        p.control(Unit.MARK)


def wide(p):
    from ringpair_hdl.control import Field

    return Field("all", 0, p.pad.size)


def tell(p, *tests):
    """A byte to the port for each condition: does it hold?"""
    for test in tests:
        with p.If(test):
            p.emit(Port.LINK, 1)
        with p.If(~test):
            p.emit(Port.LINK, 0)


def noise(seed, count):
    return random.Random(seed).randbytes(count)


# ---------------------------------------------------------------------------------------------------- every instruction


def test_bytes():
    """SET, ADD, AND, OR, TEST, COMPARE on hot and other bytes, with what they leave in ZERO and CARRY."""
    p = Program()
    hot, cold = p.pad.field("hot", 1, hot=True), p.pad.field("cold", 1)
    with p.routine("main", returns=False):
        for field in (hot, cold):
            for value in (0x00, 0x01, 0x7F, 0x80, 0xFF):
                for op in (Op.ADD, Op.AND, Op.OR, Op.TEST, Op.COMPARE):
                    for immediate in (0x00, 0x01, 0x80, 0xFF):
                        p.set(field, value)
                        p.byte(op, field, immediate)
                        p.give(Port.LINK, field)
                        tell(p, ZERO, CARRY)
        show(p)
    compare(p, stall=0)


def test_numbers():
    """INCREMENT over every carry, LESS on equal, less and greater numbers of one to four bytes."""
    p = Program()
    left, right = p.pad.field("left", 4), p.pad.field("right", 4)
    with p.routine("main", returns=False):
        for value in (0, 0xFE, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):
            p.set(left, value)
            p.add(left, 1)
            tell(p, ZERO, CARRY)
            p.give(Port.LINK, left)
        numbers = (0, 1, 0xFF, 0x100, 0x1FF, 0x00FFFFFF, 0x80000000, 0xFFFFFFFF)
        for a in numbers:
            for b in numbers[::2]:
                p.set(left, a)
                p.set(right, b)
                for length in (1, 2, 4):
                    p.less(left[:length], right[:length])
                    tell(p, ZERO, CARRY)
        show(p)
    compare(p, stall=0)


def test_moves():
    """Every direction with every port, pauses on all of them."""
    p = Program()
    a, b, c = (p.pad.field(name, 40, init=noise(name, 40)) for name in "abc")
    long = p.pad.field("long", 124, init=noise("long", 124))
    with p.routine("main", returns=False):
        for port in (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF):
            p.give(port, a[3:20])
            p.give(port, long)
        p.give(Port.SPONGE, b)
        p.control(Unit.SPONGE_END)
        for port in (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF, Port.TRNG):
            p.take(port, b[1:9])
        p.take(Port.FRAME, b[10])
        p.zero(b[11:13])
        p.copy(c[:20], long[64:84])
        p.copy(b[:2], b[2:4])
        p.control(Unit.DEST, c.address + 20)
        p.move(Direction.CRYPT, Port.SPONGE, a[:16])
        p.emit(Port.SPONGE, 1, 2)
        p.emit(Port.LINK, 3)
        p.emit(Port.SPI, 4)
        p.derive(AUTH, auth_key=a[:16], header=0x77, direction=b[0], nonce_i=b[16:32])
        p.control(Unit.SPONGE, start_word(aead=1, decrypt=1, ad=1))
        p.control(Unit.SPONGE_END)
        p.control(Unit.SPONGE_CLEAR)
        p.control(Unit.SPI, 1)
        p.control(Unit.SIDE, 1)
        p.control(Unit.SPI, 0)
        p.control(Unit.SIDE, 0)
        p.output(on=5)
        p.output(on=2, off=1)
        p.control(Unit.PUF, 6)
        p.control(Unit.FRAME, 1)
        p.control(Unit.FRAME, 2)
        show(p)
    queues = {name: noise(name, 64) for name in QUEUES}
    for stall in (0, 0.5):
        compare(p, inputs=queues, levels={"length": 77}, stall=stall)


def test_lengths():
    """The length byte counts moves of length 0, also when it is 0; received lengths, and the errors of a frame."""
    p = Program()
    a = p.pad.field("a", 96, init=noise("a", 96))
    frame = p.pad.field("frame", 1)
    with p.routine("main", returns=False):
        for length in (0, 1, 47, 64, 96):
            p.control(Unit.LENGTH, length)
            p.move(Direction.GIVE, Port.SPI, a, length=0)
        p.control(Unit.LENGTH, 0x80 | 17)
        p.move(Direction.GIVE, Port.SPI, a, length=0)
        p.take(Port.FRAME, frame)
        show(p)
    compare(p, levels={"length": 60})
    compare(p, levels={"error": 3, "length": 1})


def test_matches():
    """CHECK, and CRYPT against a port: equal, and different in one bit of any byte."""
    p = Program()
    data, mask = noise("data", 16), noise("mask", 16)
    field = p.pad.field("field", 16, init=data)
    with p.routine("main", returns=False):
        for port in (Port.LINK, Port.SPI, Port.SPONGE, Port.PUF):
            for _ in range(5):
                p.check(port, field)
                tell(p, MATCH)
        for port in (Port.LINK, Port.SPI):
            for _ in range(5):
                p.move(Direction.CRYPT, port, field)
                tell(p, MATCH)
        show(p)

    def spoiled(text):
        out = [text]
        for place, bit in ((0, 0), (7, 3), (15, 7)):
            changed = bytearray(text)
            changed[place] ^= 1 << bit
            out.append(bytes(changed))
        return b"".join([*out, text])

    queues = {name: spoiled(data) + spoiled(mask) for name in ("link", "spi")}
    queues["sponge"] = spoiled(data) + mask * 10
    queues["puf"] = spoiled(data)
    machine = compare(p, inputs=queues)
    told = [event[1] for event in machine.events if event[0] == "link"][:30]
    assert told == [1, 0, 0, 0, 1] * 6


def test_ones_and_zeros():
    p = Program()
    field = p.pad.field("field", 8)
    texts = [bytes(8), b"\xff" * 8, b"\xff" * 7 + b"\xfe", bytes(7) + b"\1", b"\0" * 4 + b"\xff" * 4]
    with p.routine("main", returns=False):
        for _ in texts:
            p.take(Port.SPI, field)
            p.zero(field)  # leaves them
            tell(p, ONES, ZEROS)
        show(p)
    machine = compare(p, inputs={"spi": b"".join(texts)})
    assert [e[1] for e in machine.events if e[0] == "link"][:10] == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("held", range(len(OUTSIDE) + 1))
def test_conditions_from_outside(held):
    p = Program()
    with p.routine("main", returns=False):
        tell(p, *OUTSIDE)
        show(p)
    compare(p, levels={OUTSIDE[held].condition.name: 1} if held < len(OUTSIDE) else {}, stall=0)


def test_alarm_ends_a_take():
    """Nothing comes from a generator that raised its alarm, and the program goes on."""
    p = Program()
    field = p.pad.field("field", 8)
    with p.routine("main", returns=False):
        p.take(Port.TRNG, field)
        tell(p, TRNG_ALARM)
        show(p)
    compare(p, inputs={"trng": b"secret 8"}, levels={"TRNG_ALARM": 1})


def test_calls_to_full_depth():
    p = Program()
    with p.routine("main", returns=False):
        p.call("level_1")
        p.call("level_3")
        show(p)
    for level in range(1, 16):
        with p.routine(f"level_{level}"):
            p.emit(Port.LINK, level)
            p.call(f"level_{level + 1}")
            p.emit(Port.LINK, 0x80 | level)
    with p.routine("level_16"):
        p.emit(Port.LINK, 16)
    assert compare(p).deepest == 16


def random_program(seed, rows=0):
    """Routines that call later ones, of random instructions and conditions; of many rows of the table, if need be."""
    draw = random.Random(seed)
    p = Program()
    hot = p.pad.field("hot", 2, hot=True)
    low = [p.pad.field(f"low{k}", 4, init=draw.randbytes(4)) for k in range(4)]
    high = [p.pad.field(f"high{k}", 64, init=draw.randbytes(64)) for k in range(4)]
    tests = [t for test in (ZERO, CARRY, MATCH, ONES, ZEROS, BUTTON, PEER_FRAME) for t in (test, ~test)]
    names = [f"routine_{k}" for k in range(10)]

    def run():
        field, length = draw.choice(low + high), draw.choice((1, 2, 3, 4))
        return field[:length] if draw.random() < 0.7 else field[-length:]

    def one_byte():
        return draw.choice([hot[0], hot[1], *(f[k] for f in low for k in range(4))])

    def statement(number, nesting):
        kind = draw.randrange(14)
        if kind < 4:
            p.byte(draw.choice(list(Op)), one_byte(), draw.choice((0, 1, 255, draw.randrange(256))))
        elif kind == 4:
            p.give(draw.choice((Port.SPONGE, Port.LINK, Port.SPI, Port.PUF)), run())
        elif kind == 5:
            p.take(draw.choice((Port.SPONGE, Port.LINK, Port.SPI, Port.PUF, Port.TRNG, Port.ZERO)), run())
        elif kind == 6:
            p.check(draw.choice((Port.LINK, Port.SPI)), run())
        elif kind == 7:
            left = run()
            p.less(left, draw.choice(high)[: left.length])
        elif kind == 8:
            p.add(draw.choice(low), 1)
        elif kind == 9:
            p.copy(draw.choice(low), draw.choice(high)[:4])
        elif kind == 10:
            p.set(draw.choice(low), draw.randbytes(4))
        elif kind == 11 and number + 1 < len(names):
            p.call(draw.choice(names[number + 1 :]))
        elif kind == 12:
            p.emit(Port.LINK, draw.randrange(256))
            p.derive(EPOCH, chain_key=draw.choice(high)[:32])
        elif nesting < 3:
            with p.If(draw.choice(tests)):
                block(number, nesting + 1)
            if draw.random() < 0.4:
                with p.Else():
                    block(number, nesting + 1)

    def block(number, nesting):
        for _ in range(draw.randrange(1, 5)):
            statement(number, nesting)
        if nesting and draw.random() < 0.2:
            p.ret()

    with p.routine("main", returns=False):
        for row in range(rows):
            p.give(Port.LINK, high[row // 60][row % 60 :][:2])
        p.call(names[0])
        show(p)
    for number, name in enumerate(names):
        with p.routine(name):
            for _ in range(10):
                statement(number, 0)
    return p


@pytest.mark.parametrize("seed", range(4))
def test_random_programs(seed):
    levels = {"BUTTON": seed & 1, "PEER_FRAME": seed >> 1 & 1}
    queues = {name: bytes(noise(seed, 6000)) for name in QUEUES}
    compare(random_program(seed), inputs=queues, levels=levels, stall=0.2 * (seed % 2))


def test_rows_in_a_memory_of_their_own():
    """What the sequencer does is the same if the table lies apart, as it does when a program has no room for it."""
    p, queues = random_program(7, rows=80), {name: bytes(noise(7, 6000)) for name in QUEUES}
    together = p.link()
    apart = p.link(len(together) - 1)
    assert not together.table
    assert len(apart.table) > 2 * isa.VECTOR_ROWS.stop
    assert Machine(apart, p.pad.init, queues).run().events == Machine(together, p.pad.init, queues).run().events
    compare(p, inputs=queues, rom=apart)


@pytest.mark.parametrize("seed", range(100, 160))
def test_optimizer_keeps_the_meaning(seed):
    p = random_program(seed)
    queues = {name: bytes(noise(seed, 20000)) for name in QUEUES}
    long, short = p.link(shorten=False), p.link()
    assert len(short) < len(long)
    machines = [Machine(rom, p.pad.init, queues).run() for rom in (long, short)]
    assert machines[0].events == machines[1].events


def timer_program():
    """Tells what it sees whenever a frame comes: timer, short and long press; an odd peer frame stops or starts it."""
    p = Program()
    with p.routine("main", returns=False):
        with p.Loop():
            p.wait(ADMIN_FRAME)
            tell(p, TIMER_DONE, BUTTON_SHORT, BUTTON_LONG)
            with p.If(PEER_FRAME):
                p.control(Unit.TIMER, 0)
            with p.If(BUTTON):
                p.control(Unit.TIMER, 7)
            with p.If(BUTTON_LONG):
                p.control(Unit.EVENTS, 2)
                p.wait(~ADMIN_FRAME)
                p.wait(ADMIN_FRAME)
                p.control(Unit.EVENTS, 1)
            p.wait(~ADMIN_FRAME)
    return p


@cocotb.test()
async def keeps_time(dut):
    bench = await Bench.start(dut)
    told = bench.monitor("link_i")

    async def ask(peer=0, button=0):
        dut.frames.value, dut.button.value = 1 | peer << 1, button
        got = await told.receive(3)
        await bench.cycles(40)
        dut.frames.value = 0
        await bench.cycles(20)
        return got

    async def ticks(count):
        for _ in range(count):
            await bench.pulse("tick")
            await bench.cycles(3)

    assert await ask() == [0, 0, 0]
    assert int(dut.timer_runs.value) == 0
    await ask(button=1)
    await ticks(7)
    assert await ask() == [0, 0, 0]  # 7 is rounded up to 8
    assert int(dut.timer_runs.value) == 1
    await ticks(1)
    assert await ask() == [1, 0, 0]
    assert int(dut.timer_runs.value) == 0
    await ticks(3)
    assert await ask() == [1, 0, 0]  # until it is set again
    await ask(button=1)
    assert await ask() == [0, 0, 0]
    await ask(peer=1)
    assert int(dut.timer_runs.value) == 0
    assert await ask() == [0, 0, 0]  # stopped is not done
    await bench.pulse("button_short")
    assert await ask() == [0, 1, 0]
    await bench.pulse("button_long")
    assert await ask() == [0, 1, 1]
    dut.frames.value = 1
    await bench.cycles(20)
    dut.frames.value = 0
    await bench.cycles(20)
    assert await ask() == [0, 0, 0]


def test_timer_and_button_events():
    p = timer_program()
    simulate(Sequencer(p.link(), p.pad.init), __name__, tests=["keeps_time"])


def waiting_program():
    """Tells after each wait, and forgets what ended it."""
    p = Program()
    with p.routine("main", returns=False):
        with p.Loop():
            p.control(Unit.TIMER, 4)
            p.wait_event()
            tell(p, ADMIN_FRAME, PEER_FRAME, TIMER_DONE, BUTTON_SHORT, BUTTON_LONG)
            p.wait(~ADMIN_FRAME)
            p.wait(~PEER_FRAME)
            p.control(Unit.EVENTS, 3)
    return p


@cocotb.test()
async def waits(dut):
    bench = await Bench.start(dut)
    told = bench.monitor("link_i")
    for number, wake in enumerate(("frames", "frames", "tick", "button_short", "button_long")):
        await bench.cycles(100)
        assert not int(told.valid.value)  # nothing happened
        if wake == "frames":
            dut.frames.value = 1 << number
        else:
            for _ in range(4 if wake == "tick" else 1):
                await bench.pulse(wake)
        assert await told.receive(5) == [int(n == number) for n in range(5)]
        dut.frames.value = 0


def test_waiting_for_an_event():
    p = waiting_program()
    simulate(Sequencer(p.link(), p.pad.init), __name__, tests=["waits"])


def test_converts_cleanly():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = random_program(1)
        for observe in (False, True):
            rtlil.convert(Sequencer(p.link(), p.pad.init, observe=observe))
