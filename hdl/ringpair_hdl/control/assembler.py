"""Writes programs for the sequencer in Python that reads like the protocol page.

A :class:`Program` collects routines. Inside ``with p.routine("name"):`` each call emits one instruction, or a few;
``with p.If(condition):``, ``p.Else()``, ``p.While(condition)`` and ``p.Loop()`` nest as they look. :meth:`Program.link`
resolves the names, checks what can be checked and returns the words of the ROM.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ringpair_protocol.derivations import Derivation

from . import isa
from .isa import Condition, Direction, Op, Output, Phase, Port, Unit
from .scratchpad import Field, Scratchpad, check_length

STACK_DEPTH = 8
"""Calls may nest this deep."""


@dataclass(frozen=True)
class Test:
    """A condition, or its contrary (``~test``)."""

    condition: Condition
    unless: bool = False

    def __invert__(self) -> "Test":
        return Test(self.condition, not self.unless)


@dataclass
class _Jump:
    target: str
    test: Test
    call: bool


class Program:
    """Routines for the sequencer, and the scratchpad that they work on."""

    def __init__(self, pad: Scratchpad | None = None):
        self.pad = pad or Scratchpad()
        self._code: list[int | _Jump] = []
        self._labels: dict[str, int] = {}
        self._routine: str | None = None
        self._starts: dict[str, int] = {}
        self._count = 0
        self._else: str | None = None

    # ------------------------------------------------------------------ structure
    def _emit(self, word: "int | _Jump") -> None:
        if self._routine is None:
            raise ValueError("an instruction stands outside any routine")
        self._else = None
        self._code.append(word)

    def _fresh(self) -> str:
        self._count += 1
        return f".{self._count}"

    def _place(self, label: str) -> None:
        if label in self._labels:
            raise ValueError(f"{label!r} is defined twice")
        self._labels[label] = len(self._code)

    @contextmanager
    def routine(self, name: str, *, returns: bool = True) -> Iterator[None]:
        """A named piece of program; falls back to its caller at the end unless ``returns`` is false."""
        if self._routine is not None:
            raise ValueError(f"routine {name!r} stands inside {self._routine!r}")
        self._routine = name
        self._starts[name] = len(self._code)
        self._place(name)
        yield
        if returns and not self._ends_elsewhere():
            self.ret()
        self._routine = None

    def _ends_elsewhere(self) -> bool:
        """The last instruction leaves for good, and nothing jumps behind it."""
        last = self._code[-1]
        leaves = last == isa.control(Unit.RETURN) or (isinstance(last, _Jump) and not last.call and last.test == ALWAYS)
        return leaves and len(self._code) not in self._labels.values()

    @contextmanager
    def If(self, test: Test) -> Iterator[None]:
        end = self._fresh()
        self.jump(end, ~test)
        yield
        self._place(end)
        self._else = end

    @contextmanager
    def Else(self) -> Iterator[None]:
        """What happens otherwise; directly behind an ``If``."""
        otherwise, end = self._else, self._fresh()
        if otherwise is None:
            raise ValueError("Else stands directly behind an If")
        self.jump(end)
        self._labels[otherwise] = len(self._code)
        yield
        self._place(end)

    @contextmanager
    def While(self, test: Test) -> Iterator[None]:
        """Repeats as long as the condition holds; it is tested first."""
        start, end = self._fresh(), self._fresh()
        self._place(start)
        self.jump(end, ~test)
        yield
        self.jump(start)
        self._place(end)
        self._else = None

    @contextmanager
    def Loop(self) -> Iterator["Loop"]:
        """Repeats for ever, until ``loop.leave()``."""
        loop = Loop(self, self._fresh(), self._fresh())
        self._place(loop.start)
        yield loop
        self.jump(loop.start)
        self._place(loop.end)
        self._else = None

    def jump(self, target: str, test: Test | None = None) -> None:
        self._emit(_Jump(target, test or ALWAYS, call=False))

    def call(self, target: str, test: Test | None = None) -> None:
        self._emit(_Jump(target, test or ALWAYS, call=True))

    def ret(self) -> None:
        self.control(Unit.RETURN)

    def wait(self, test: Test) -> None:
        """Stand still until the condition holds."""
        label = self._fresh()
        self._place(label)
        self.jump(label, ~test)

    def wait_either(self, *tests: Test) -> None:
        """Stand still until one of the conditions holds."""
        start, end = self._fresh(), self._fresh()
        self._place(start)
        for test in tests:
            self.jump(end, test)
        self.jump(start)
        self._place(end)

    # ------------------------------------------------------------------ single bytes
    def byte(self, op: Op, field: Field, immediate: int = 0) -> None:
        if field.length != 1:
            raise ValueError(f"{op.name} takes one byte, {field.name} has {field.length}")
        if not 0 <= immediate <= 255:
            raise ValueError(f"an immediate is 0 to 255, not {immediate}")
        self._emit(isa.byte(op, field.address, immediate))

    def set(self, field: Field, value: int | bytes) -> None:
        """Little-endian if the field is longer than a byte and the value a number."""
        data = value if isinstance(value, bytes) else value.to_bytes(field.length, "little")
        for k, item in enumerate(data):
            self.byte(Op.SET, field[k], item)

    def add(self, field: Field, value: int) -> None:
        """``field += value`` on a little-endian number of any length; carry tells of an overflow."""
        data = value.to_bytes(field.length, "little")
        for k, item in enumerate(data):
            self.byte(Op.ADC if k else Op.ADD, field[k], item)

    def compare(self, field: Field, value: int) -> None:
        """Zero: equal. Carry: the field is at least the value."""
        self.byte(Op.COMPARE, field, value)

    def test(self, field: Field, mask: int) -> None:
        """Zero: none of the bits is set."""
        self.byte(Op.TEST, field, mask)

    def less(self, left: Field, right: Field) -> None:
        """Carry: left >= right. Zero: equal. Both are little-endian numbers of one length."""
        for k in range(left.length):
            self.byte(Op.LOAD, left[k])
            self.byte(Op.SBC if k else Op.SUB, right[k])

    def copy(self, target: Field, source: Field) -> None:
        if target.length != source.length:
            raise ValueError(f"{source.name} has {source.length} bytes, {target.name} has {target.length}")
        self.control(Unit.DEST, target.address)
        self.move(Direction.GIVE, Port.PAD, source)

    # ------------------------------------------------------------------ runs of bytes
    def move(self, direction: Direction, port: Port, field: Field, length: int | None = None) -> None:
        count = field.length if length is None else length
        self._emit(isa.move(direction, port, field.address, check_length(count)))

    def give(self, port: Port, field: Field) -> None:
        self.move(Direction.GIVE, port, field)

    def take(self, port: Port, field: Field) -> None:
        self.move(Direction.TAKE, port, field)

    def check(self, port: Port, field: Field) -> None:
        self.move(Direction.CHECK, port, field)

    def emit(self, port: Port, *values: int) -> None:
        for value in values:
            self.control(Unit.EMIT, port << 8 | value)

    def zero(self, *fields: Field) -> None:
        for field in fields:
            for start in range(0, field.length, 127):
                self.take(Port.ZERO, field[start : start + 127])

    # ------------------------------------------------------------------ units
    def control(self, unit: Unit, argument: int = 0) -> None:
        if not 0 <= argument < 1 << 18:
            raise ValueError(f"an argument of {unit.name} has 18 bits, not {argument}")
        self._emit(isa.control(unit, argument))

    def phase(self, phase: int) -> None:
        self.control(Unit.PHASE, phase)

    def output(self, on: int = 0, off: int = 0) -> None:
        self.control(Unit.OUTPUT, (on | off) << 8 | on)

    def derive(self, row: Derivation, *, only: int | None = None, **operands: "Field | int") -> None:
        """One row of the derivation table: inputs to the sponge, outputs from it.

        ``operands`` maps the row's input names to fields, or to a number for a single byte; outputs are not taken
        here but by the instructions that follow, in the row's order.
        """
        names = dict(row.inputs)
        if operands.keys() != names.keys():
            raise ValueError(f"{row.label!r} takes {sorted(names)}, not {sorted(operands)}")
        self.control(Unit.SPONGE, start_word(custom=1, z_len=len(row.label)))
        self.give(Port.SPONGE, self.pad.constant(row.label))
        self.control(Unit.SPONGE_END)
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
    def link(self, capacity: int = 1 << isa.TARGET) -> list[int]:
        """The words of the ROM.

        Raises
        ------
        ValueError
            A target is unknown, calls nest too deep or in a circle, or the program is too long.
        """
        words = []
        for item in self._code:
            if isinstance(item, _Jump):
                if item.target not in self._labels:
                    raise ValueError(f"there is no routine {item.target!r}")
                target = self._labels[item.target]
                words.append(isa.branch(target, item.test.condition, call=item.call, unless=item.test.unless))
            else:
                words.append(item)
        if len(words) > capacity:
            raise ValueError(f"the program has {len(words)} words, the ROM {capacity}")
        depth = max(self._depth(name, ()) for name in self._starts)
        if depth > STACK_DEPTH:
            raise ValueError(f"calls nest {depth} deep, the stack has {STACK_DEPTH}")
        return words

    def _depth(self, name: str, path: tuple[str, ...]) -> int:
        """How many return addresses lie on the stack at most, inside this routine and below."""
        if name in path:
            raise ValueError(f"calls in a circle: {' -> '.join((*path, name))}")
        starts = sorted(self._starts.values())
        start = self._starts[name]
        end = next((s for s in starts if s > start), len(self._code))
        depth = 0
        for item in self._code[start:end]:
            if isinstance(item, _Jump) and item.target in self._starts:
                if item.call:
                    depth = max(depth, 1 + self._depth(item.target, (*path, name)))
                elif item.target not in path and item.target != name:
                    depth = max(depth, self._depth(item.target, (*path, name)))
        return depth

    def listing(self) -> dict[str, tuple[int, int]]:
        """Routine name to (first word, length): for reports."""
        order = sorted(self._starts.items(), key=lambda item: item[1])
        ends = [start for _, start in order[1:]] + [len(self._code)]
        return {name: (start, end - start) for (name, start), end in zip(order, ends, strict=True)}


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


ALWAYS, ZERO, CARRY, MATCH, ONES, ZEROS = (Test(c) for c in list(Condition)[:6])
ADMIN_FRAME, PEER_FRAME, FRAME_ERROR = Test(Condition.ADMIN_FRAME), Test(Condition.PEER_FRAME), Test(Condition.FRAME_ERROR)
PUF_BUSY, PUF_EXHAUSTED, PUF_DEAD = Test(Condition.PUF_BUSY), Test(Condition.PUF_EXHAUSTED), Test(Condition.PUF_DEAD)
TRNG_ALARM, TRNG_READY = Test(Condition.TRNG_ALARM), Test(Condition.TRNG_READY)
BUTTON, BUTTON_SHORT, BUTTON_LONG = Test(Condition.BUTTON), Test(Condition.BUTTON_SHORT), Test(Condition.BUTTON_LONG)
TIMER_RUNS, TIMER_DONE = Test(Condition.TIMER_RUNS), Test(Condition.TIMER_DONE)

__all__ = [name for name in dir() if name.isupper()] + ["Loop", "Output", "Phase", "Port", "Program", "Test", "Unit"]
