"""Writes programs for the sequencer in Python that reads like the protocol page.

A :class:`Program` collects routines. Inside ``with p.routine("name"):`` each call emits one instruction, or a few;
``with p.If(condition):``, ``p.Else()``, ``p.While(condition)`` and ``p.Loop()`` nest as they look. :meth:`Program.link`
resolves the names, shortens the program, checks what can be checked and returns the contents of the code memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from ringpair_protocol.derivations import Derivation

from . import isa, linker, nodes, optimizer
from .isa import Base, Condition, Direction, Move, Op, Operand, Output, Phase, Port, Strobe
from .linker import Rom
from .nodes import Branch, Call, Derive, Jump, Label, Node, Plain, Return
from .scratchpad import Field, Scratchpad

TIMER_STEP = 4
TIMER_MAX = 255 * TIMER_STEP
RECEIVED = 0x80


@dataclass(frozen=True)
class Test:
    """A condition, or its contrary (``~test``); without a condition it always holds."""

    condition: Condition | None
    unless: bool = False

    def __invert__(self) -> "Test":
        return Test(self.condition, not self.unless)


class Unit(Enum):
    """What ``control`` may name, and its argument."""

    SPONGE = auto()  # start a mode; argument as ascon.modes.Start
    SPONGE_END = auto()  # ends the sponge's present segment
    SPONGE_CLEAR = auto()
    PUF = auto()  # start a command of the PUF engine once the last is done
    SPI = auto()  # flash select: 0 or 1
    SIDE = auto()  # which line LINK means: 0 admin, 1 peer
    FRAME = auto()  # 1 send what was given, 2 drop the received frame
    MARK = auto()  # nothing but a strobe for whoever observes the sequencer
    LENGTH = auto()  # of moves of length 0; with bit 7 set the received length minus the argument
    TIMER = auto()  # count down from argument ticks, rounded up to a multiple of 4; 0 stops
    OUTPUT = auto()  # mask << 4 | value of the output register
    DEST = auto()  # where the next GIVE to PAD or CRYPT with SPONGE writes
    EVENTS = auto()  # forget latched button events: 1 short, 2 long


FRAME_STROBES = {1: Strobe.SEND, 2: Strobe.DROP}
EMITS = {Port.SPONGE: Operand.EMIT_SPONGE, Port.LINK: Operand.EMIT_LINK, Port.SPI: Operand.EMIT_SPI}
MOVES = {
    Direction.GIVE: (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF),
    Direction.TAKE: (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF, Port.TRNG, Port.ZERO, Port.FRAME),
    Direction.CHECK: (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF),
    Direction.CRYPT: (Port.SPONGE, Port.LINK, Port.SPI),
}
"""Which ports a direction may name."""
WRITES = (Op.SET, Op.ADD, Op.AND, Op.OR)


class Program:
    """Routines for the sequencer, and the scratchpad that they work on. The first routine is where it starts."""

    def __init__(self, pad: Scratchpad | None = None):
        self.pad = pad or Scratchpad()
        self._code: list[Node] = []
        self._labels: set[str] = set()
        self._routine: str | None = None
        self._routines: list[str] = []
        self._count = 0
        self._else: int | None = None
        self._dest: int | None = None

    # ------------------------------------------------------------------ structure
    def _emit(self, node: Node) -> None:
        if self._routine is None:
            raise ValueError("an instruction stands outside any routine")
        self._else = None
        self._code.append(node)

    def _fresh(self) -> str:
        self._count += 1
        return f".{self._count}"

    def _place(self, label: str) -> None:
        if label in self._labels:
            raise ValueError(f"{label!r} is defined twice")
        self._labels.add(label)
        self._code.append(Label(label))

    @contextmanager
    def _nested(self) -> Iterator[None]:
        dest = self._dest
        yield
        if self._dest != dest:
            raise ValueError(f"{self._routine!r}: DEST must be used in the block in which it is set")

    @contextmanager
    def routine(self, name: str, *, returns: bool = True) -> Iterator[None]:
        """A named piece of program; falls back to its caller at the end unless ``returns`` is false."""
        if self._routine is not None:
            raise ValueError(f"routine {name!r} stands inside {self._routine!r}")
        self._routine = name
        self._routines.append(name)
        self._place(name)
        with self._nested():
            yield
        if returns:
            self.ret()
        self._routine = None

    @contextmanager
    def If(self, test: Test) -> Iterator[None]:
        end = self._fresh()
        self.jump(end, ~test)
        with self._nested():
            yield
        self._place(end)
        self._else = len(self._code) - 1

    @contextmanager
    def Else(self) -> Iterator[None]:
        """What happens otherwise; directly behind an ``If``."""
        if self._else is None:
            raise ValueError("Else stands directly behind an If")
        end = self._fresh()
        self._code.insert(self._else, Jump(end))
        with self._nested():
            yield
        self._place(end)
        self._else = None

    @contextmanager
    def While(self, test: Test) -> Iterator[None]:
        """Repeats as long as the condition holds; it is tested first."""
        with self.Loop() as loop:
            loop.leave(~test)
            yield

    @contextmanager
    def Loop(self) -> Iterator["Loop"]:
        """Repeats for ever, until ``loop.leave()``."""
        loop = Loop(self, self._fresh(), self._fresh())
        self._place(loop.start)
        with self._nested():
            yield loop
        self.jump(loop.start)
        self._place(loop.end)

    def jump(self, target: str, test: Test | None = None) -> None:
        if test is None or test.condition is None:
            if test is None or not test.unless:
                self._emit(Jump(target))
        else:
            self._emit(Branch(test.condition, test.unless, target))

    def call(self, target: str, test: Test | None = None) -> None:
        if test is None:
            self._emit(Call(target))
        else:
            with self.If(test):
                self._emit(Call(target))

    def ret(self) -> None:
        self._emit(Return())

    def wait(self, test: Test) -> None:
        """Stand still until the condition holds."""
        label = self._fresh()
        self._place(label)
        self.jump(label, ~test)

    def wait_either(self, *tests: Test) -> None:
        """Stand still until one of the conditions holds."""
        with self.Loop() as loop:
            for test in tests:
                loop.leave(test)

    # ------------------------------------------------------------------ single bytes
    def byte(self, op: Op, field: Field, immediate: int = 0) -> None:
        if field.length != 1:
            raise ValueError(f"{op.name} takes one byte, {field.name} has {field.length}")
        if not 0 <= immediate <= 255:
            raise ValueError(f"an immediate is 0 to 255, not {immediate}")
        if not _reached(field):
            raise ValueError(f"{op.name} reaches the first 256 bytes, {field.name} lies at {field.address}")
        if op in WRITES:
            _check_writable(field)
        code = isa.byte(op, field.address, immediate)
        self._emit(Plain(code[0], data=code[1:]))

    def set(self, field: Field, value: int | bytes) -> None:
        """Little-endian if the field is longer than a byte and the value a number."""
        data = value if isinstance(value, bytes) else value.to_bytes(field.length, "little")
        if len(data) != field.length:
            raise ValueError(f"{field.name} has {field.length} bytes, its new value {len(data)}")
        if field.length == 1:
            self.byte(Op.SET, field, data[0])
        elif not any(data):
            self.zero(field)
        else:
            _check_writable(field)
            self._emit(Plain(Move.TAKE_CODE, (_row(field),), data))

    def add(self, field: Field, value: int) -> None:
        """``field += value`` on a byte, or ``field += 1`` on a longer little-endian number; carry tells an overflow."""
        if field.length == 1 and (value != 1 or _reached(field)):
            self.byte(Op.ADD, field, value)
        elif value != 1:
            raise ValueError(f"{field.name} has {field.length} bytes: only 1 can be added, not {value}")
        else:
            _check_writable(field)
            self._emit(Plain(Move.INCREMENT, (_row(field),)))

    def compare(self, field: Field, value: int) -> None:
        """Zero: equal. Carry: the field is at least the value."""
        self.byte(Op.COMPARE, field, value)

    def test(self, field: Field, mask: int) -> None:
        """Zero: none of the bits is set."""
        self.byte(Op.TEST, field, mask)

    def less(self, left: Field, right: Field) -> None:
        """Carry: left >= right. Zero: equal. Both are little-endian numbers of one length."""
        if left.length != right.length:
            raise ValueError(f"{left.name} has {left.length} bytes, {right.name} has {right.length}")
        self._emit(Plain(Move.LESS, (_row(right), _row(left))))

    def copy(self, target: Field, source: Field) -> None:
        if target.length != source.length:
            raise ValueError(f"{source.name} has {source.length} bytes, {target.name} has {target.length}")
        _check_writable(target)
        _check_apart(target.address, source)
        self._emit(Plain(Move.COPY, (_row(target), _row(source))))

    # ------------------------------------------------------------------ runs of bytes
    def move(self, direction: Direction, port: Port, field: Field, length: int | None = None) -> None:
        """A run of bytes; length 0 means what ``Unit.LENGTH`` said last."""
        row = (field.address, field.length if length is None else length)
        if direction == Direction.TAKE:
            _check_writable(field)
        if (direction, port) in ((Direction.GIVE, Port.PAD), (Direction.CRYPT, Port.SPONGE)):
            if self._dest is None:
                raise ValueError(f"{direction.name} with {port.name} needs a DEST before it")
            _check_apart(self._dest, field)
            opcode = Move.COPY if port == Port.PAD else isa.move(direction, port)
            self._emit(Plain(opcode, ((self._dest, row[1]), row)))
            self._dest = None
        elif port in MOVES[direction]:
            self._emit(Plain(isa.move(direction, port), (row,)))
        else:
            raise ValueError(f"there is no {direction.name} with {port.name}")

    def give(self, port: Port, field: Field) -> None:
        self.move(Direction.GIVE, port, field)

    def take(self, port: Port, field: Field) -> None:
        self.move(Direction.TAKE, port, field)

    def check(self, port: Port, field: Field) -> None:
        self.move(Direction.CHECK, port, field)

    def emit(self, port: Port, *values: int) -> None:
        for value in values:
            self._operand(EMITS[port], value)

    def zero(self, *fields: Field) -> None:
        for field in fields:
            for start in range(0, field.length, isa.LONGEST):
                self.take(Port.ZERO, field[start : start + isa.LONGEST])

    # ------------------------------------------------------------------ units
    def _operand(self, unit: Operand, value: int) -> None:
        if not 0 <= value <= 255:
            raise ValueError(f"the operand of {unit.name} is 0 to 255, not {value}")
        self._emit(Plain(Base.OPERAND | unit, data=bytes([value])))

    def wait_event(self) -> None:
        """Rest until a frame is there, the timer is done, or the button was pressed."""
        self._emit(Plain(Base.STROBE | Strobe.WAIT))

    def control(self, unit: Unit, argument: int = 0) -> None:
        match unit:
            case Unit.SPONGE:
                if argument >> 5 not in (0, 7):
                    raise ValueError(f"a label has 7 bytes, not {argument >> 5}")
                self._operand(Operand.START, argument & 31)
            case Unit.SPONGE_END:
                last = self._code[-1] if self._code else None
                if isinstance(last, Plain) and last.opcode == isa.move(Direction.GIVE, Port.SPONGE):
                    self._code[-1] = Plain(Move.GIVE_END, last.rows)
                else:
                    self._emit(Plain(Base.STROBE | Strobe.SPONGE_END))
            case Unit.SPONGE_CLEAR:
                self._emit(Plain(Base.STROBE | Strobe.SPONGE_CLEAR))
            case Unit.SPI | Unit.SIDE:
                self._emit(Plain(Base.SELECT | (unit == Unit.SIDE) << 1 | argument))
            case Unit.FRAME:
                self._emit(Plain(Base.STROBE | FRAME_STROBES[argument]))
            case Unit.MARK:
                self._emit(Plain(Base.STROBE | Strobe.MARK))
            case Unit.LENGTH if argument & RECEIVED:
                self.take(Port.FRAME, self.pad.length)
                self.byte(Op.ADD, self.pad.length, -(argument & ~RECEIVED) & 255)
            case Unit.LENGTH:
                self.byte(Op.SET, self.pad.length, argument)
            case Unit.TIMER:
                if not 0 <= argument <= TIMER_MAX:
                    raise ValueError(f"the timer counts 0 to {TIMER_MAX} ticks, not {argument}")
                self._operand(Operand.TIMER, -(-argument // TIMER_STEP))
            case Unit.DEST:
                self._dest = argument
            case _:
                self._operand(Operand[unit.name], argument)

    def phase(self, phase: int) -> None:
        """From here on the device is in this phase, for an observer; costs nothing."""
        self._emit(nodes.Phase(int(phase)))

    def output(self, on: int = 0, off: int = 0) -> None:
        self.control(Unit.OUTPUT, (on | off) << 4 | on)

    def derive(self, row: Derivation, **operands: "Field | int") -> None:
        """One row of the derivation table: inputs to the sponge, outputs from it.

        ``operands`` maps the row's input names to fields, or to a number for a single byte; outputs are not taken
        here but by the instructions that follow, in the row's order.
        """
        names = dict(row.inputs)
        if operands.keys() != names.keys():
            raise ValueError(f"{row.label!r} takes {sorted(names)}, not {sorted(operands)}")
        self._emit(Derive(_row(self.pad.constant(row.label))))
        for name, length in row.inputs:
            operand = operands[name]
            if isinstance(operand, int):
                if length != 1:
                    raise ValueError(f"{row.label!r}: {name} has {length} bytes, a number stands for one")
                self.emit(Port.SPONGE, operand)
            elif operand.length != length:
                raise ValueError(f"{row.label!r}: {name} has {length} bytes, {operand.name} has {operand.length}")
            else:
                self.give(Port.SPONGE, operand)
        self.control(Unit.SPONGE_END)

    # ------------------------------------------------------------------ the end
    def link(self, capacity: int = 1 << isa.TARGET, *, shorten: bool = True) -> Rom:
        """Contents of the code memory; ``shorten=False`` leaves the optimizer out.

        Raises
        ------
        ValueError
            A target is unknown, calls nest too deep or in a circle, or the program is too long.
        """
        if not self._routines:
            raise ValueError("the program has no routine")
        for node in self._code:
            if (target := nodes.target(node)) is not None and target not in self._labels:
                raise ValueError(f"there is no routine {target!r}")
        entry = self._routines[0]
        linker.call_depth(self._code, entry)  # in the names of the author, before anything is moved
        code = optimizer.optimize(self._code, {entry}) if shorten else self._code
        return linker.link(code, entry, capacity)


def _row(field: Field) -> nodes.Row:
    return field.address, field.length


def _reached(field: Field) -> bool:
    return field.address < 256 or field.address in isa.HOT


def _check_apart(target: int, source: Field) -> None:
    """A byte is written while the next one is read: they must not be the same, or the RAM gives anything."""
    if target == source.address + 1 and source.length > 1:
        raise ValueError(f"{source.name} cannot be moved by one byte: it would be overwritten while it is read")


def _check_writable(field: Field) -> None:
    if field.constant:
        raise ValueError(f"{field.name} is a constant, nothing may write it")


@dataclass(frozen=True)
class Loop:
    """Handle of ``with p.Loop() as loop``."""

    program: Program
    start: str
    end: str

    def leave(self, test: Test | None = None) -> None:
        self.program.jump(self.end, test)

    def again(self, test: Test | None = None) -> None:
        self.program.jump(self.start, test)


def start_word(**fields: int) -> int:
    """The argument of ``Unit.SPONGE``: the bits of ``ascon.modes.Start``."""
    from ringpair_hdl.ascon import Start

    return Start.const(fields).as_value().value


ALWAYS = Test(None)
ZERO, CARRY, MATCH, ONES, ZEROS = (Test(c) for c in list(Condition)[:5])
ADMIN_FRAME, PEER_FRAME = Test(Condition.ADMIN_FRAME), Test(Condition.PEER_FRAME)
PUF_BUSY, PUF_EXHAUSTED, PUF_DEAD = Test(Condition.PUF_BUSY), Test(Condition.PUF_EXHAUSTED), Test(Condition.PUF_DEAD)
TRNG_ALARM, TRNG_READY = Test(Condition.TRNG_ALARM), Test(Condition.TRNG_READY)
BUTTON, BUTTON_SHORT, BUTTON_LONG = Test(Condition.BUTTON), Test(Condition.BUTTON_SHORT), Test(Condition.BUTTON_LONG)
TIMER_DONE = Test(Condition.TIMER_DONE)

__all__ = [name for name in dir() if name.isupper()]
__all__ += ["Direction", "Loop", "Op", "Output", "Phase", "Port", "Program", "Test", "Unit"]
