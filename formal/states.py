"""What is known at one place of a control program: sets of values in place of values; for `formal/paths.py`."""

from functools import cache
from typing import NamedTuple

from ringpair_hdl.control import Rom, isa
from ringpair_hdl.control.decoder import Instruction, Run, decode
from ringpair_hdl.control.isa import Base, Condition, Direction, Move, Op, Operand, Port, Strobe
from ringpair_hdl.control.scratchpad import Field
from ringpair_protocol import derivations as kdf

ANY = (1 << 256) - 1
"""Set of values: bit k is set if k can be one."""
END = "end"
LABELS = frozenset(row.label for row in vars(kdf).values() if isinstance(row, kdf.Derivation))


class Link(NamedTuple):
    """A condition that holds if the tracked byte is in a set."""

    byte: int
    values: int


class State(NamedTuple):
    """What is known at one place of the program.

    Conditions are True, False, a `Link`, None (unknown), or a tuple that says what was compared: ("less", left, right),
    ("check", port, run, sponge or spi) or ("tag", port, run, sponge).
    """

    values: tuple = ()
    zero: object = None
    carry: object = None
    match: object = None
    zeros: int = 0
    sponge: tuple | None = None
    spi: tuple | None = None
    side: int = 0
    frame: tuple = ()
    shelf: int | None = None
    note: object = None


FLAGS = {Condition.ZERO: "zero", Condition.CARRY: "carry", Condition.MATCH: "match"}
LOOSE = (*FLAGS.values(), "shelf")
"""What is forgotten where nothing asks for it."""
SHELF = 1 << isa.ADDRESS
"""Where the bytes of the shelf lie for us: behind those of the scratchpad. A move to or from it is a copy."""
TO_SHELF = 0xF0
"""Upper bits of a command for it (`ringpair_hdl.program.curve`); the lower four choose a unit."""


class Code:
    """A linked program with its scratchpad, decoded on demand.

    Parameters
    ----------
    rom
    pad
        Initial contents of the scratchpad.

    Attributes
    ----------
    lengths
        Opcode and address of a run without a fixed length to the least and the greatest it can have, where that has
        been found out (`formal/lengths.py`).
    """

    def __init__(self, rom: Rom, pad: bytes):
        self.rom, self.pad = rom, bytes(pad)
        self.lengths: dict[tuple[int, int], tuple[int, int]] = {}
        self.at = cache(lambda address: decode(rom.data, address, rom.table))
        self.names = {place: name for name, place in reversed(rom.labels.items()) if name[0] not in ".@"}

    def extent(self, i: Instruction, run: Run) -> tuple[int, int]:
        """Least and greatest length of a run."""
        return (
            (run.length, run.length) if run.length is not None else self.lengths.get((i.opcode, run.address), (0, 127))
        )

    def written(self, i: Instruction) -> tuple[int, int]:
        """Where the scratchpad is written at most: address and length."""
        if i.base == Base.BYTE and i.op not in (Op.TEST, Op.COMPARE):
            return i.place, 1
        crypts = i.direction == Direction.CRYPT and i.port == Port.SPONGE
        if i.direction == Direction.TAKE or crypts or i.move in (Move.COPY, Move.INCREMENT, Move.TAKE_CODE):
            return i.runs[0].address, self.extent(i, i.runs[-1])[1]
        return 0, 0

    def writes(self, i: Instruction, *fields: Field) -> bool:
        """It may change one of these fields."""
        address, length = self.written(i)
        return any(address < field.end and field.address < address + length for field in fields)

    @staticmethod
    def gives(i: Instruction, *fields: Field, port: Port = Port.SPONGE) -> bool:
        """It gives some of these fields to the port."""
        ends = i.move == Move.GIVE_END and port == Port.SPONGE
        if not ends and (i.direction != Direction.GIVE or i.port != port):
            return False
        address, end = i.runs[0].span
        return any(address < field.end and field.address < max(end, address + 1) for field in fields)

    def label(self, i: Instruction) -> bytes:
        """Of the derivation that begins here; with more derivations than a table has rows, some give it by a move."""
        if i.base != Base.DERIVE and i.move != Move.GIVE_END:
            return b""
        start, end = i.runs[0].span
        label = self.pad[start:end]
        return label if i.base == Base.DERIVE or label in LABELS else b""

    def spans(self, i: Instruction, before: State) -> tuple[int, int, int]:
        """Source, target and length of a copy, of a move to or from the shelf, too; no length: it is none."""
        if i.move == Move.COPY:
            return i.runs[1].address, i.runs[0].address, self.extent(i, i.runs[-1])[1]
        if before.shelf is None or i.port != Port.PUF or i.direction not in (Direction.GIVE, Direction.TAKE):
            return 0, 0, 0
        inside, there, length = i.runs[0].address, SHELF + before.shelf, self.extent(i, i.runs[0])[1]
        return (there, inside, length) if i.direction == Direction.TAKE else (inside, there, length)

    def routine(self, address: int) -> str:
        """The routine that begins at or before an address."""
        place = max((place for place in self.names if place <= address), default=None)
        return "?" if place is None else f"{self.names[place]}+{address - place}"


def span(start: int, length: int) -> int:
    """Bits of a run of bytes."""
    return ((1 << length) - 1) << start


def values_of(condition) -> int:
    return sum(1 << k for k in range(256) if condition(k))


@cache
def arithmetic(op: Op, immediate: int, values: int) -> tuple[int, int, int | None]:
    """New values of the byte; among them (of TEST and COMPARE: among the old) those with ZERO, and those with CARRY."""
    inside = [k for k in range(256) if values >> k & 1]
    match op:
        case Op.COMPARE:
            return values, 1 << immediate, values_of(lambda k: k >= immediate)
        case Op.TEST:
            return values, values_of(lambda k: not k & immediate), None
        case Op.SET:
            results = [immediate]
        case Op.ADD:
            results = [(k + immediate) & 255 for k in inside]
        case Op.AND:
            results = [k & immediate for k in inside]
        case Op.OR:
            results = [k | immediate for k in inside]
    carry = values_of(lambda k: k < immediate) if op == Op.ADD else None
    return sum(1 << k for k in set(results)), 1, carry


@cache
def whole_blocks(values: int, blocks: tuple[int, ...]) -> int:
    """All values of the blocks that have one of these."""
    return sum(block for block in blocks if block & values) if blocks else values


def questions(code: Code, places: tuple[int, ...], at_rest: bool) -> dict[int, frozenset]:
    """At each address, the conditions and the numbers of places that nothing asks for before they are set anew.

    With ``at_rest`` all places are asked for where the main loop waits. Behind a return, what any caller asks is.
    """
    following, returns, returned = flow(code)

    everything = frozenset(LOOSE) | frozenset(range(len(places)))
    calls = {address for address in following if code.at(address).base in (Base.CALL, Base.VECTOR)}

    def fixpoint(known: dict[int, frozenset], rule) -> dict[int, frozenset]:
        changed = True
        while changed:
            changed = False
            for address in sorted(following, reverse=True):
                new = rule(known, address, code.at(address), [known[k] for k in following[address]])
                if new != known[address]:
                    known[address], changed = new, True
        return known

    def set_for_sure(known, address, i, behind):
        """What is set before the present routine returns, whatever way it goes."""
        here = sets(i, places) | (known[i.target] if address in calls else frozenset())
        return here | everything.intersection(*behind) if address not in returns else here

    def asked_inside(known, address, i, behind):
        """What is asked for before the present routine returns."""
        live = frozenset().union(*behind)
        if address in calls:
            live = live - sure[i.target] | known[i.target]
        return live - sets(i, places) | asks(i, places, at_rest)

    def asked_ever(known, address, i, behind):
        live = frozenset().union(*behind, *(known[k] for k in (returned if address in returns else ())))
        if address in calls:
            live = live - sure[i.target] | inside[i.target]
        return live - sets(i, places) | asks(i, places, at_rest)

    nothing = dict.fromkeys(following, frozenset())
    sure = fixpoint(dict.fromkeys(following, everything), set_for_sure)
    inside = fixpoint(dict(nothing), asked_inside)
    asked = fixpoint(dict(nothing), asked_ever)
    return {address: everything - live for address, live in asked.items()}


def flow(code: Code) -> tuple[dict[int, set[int]], set[int], set[int]]:
    """Each instruction that can be reached with where it goes in its routine; returns; what stands behind calls."""
    following: dict[int, set[int]] = {}
    waiting, returns, returned = [code.rom.start], set(), set()
    while waiting:
        address = waiting.pop()
        if address in following:
            continue
        i = code.at(address)
        calls = i.base in (Base.CALL, Base.VECTOR)
        goes = {i.target} if i.target is not None and not calls else set()
        if i.returns:
            returns.add(address)
        if calls:
            returned.add(i.following)
            waiting.append(i.target)
        if i.base != Base.JUMP and not (i.returns and not i.test):
            goes.add(i.following)
        following[address] = goes
        waiting += goes
    return following, returns, returned


def asks(i: Instruction, places: tuple[int, ...], at_rest: bool) -> frozenset:
    """What an instruction's effect depends on."""
    everything = frozenset(range(len(places)))
    rests = i.strobe == Strobe.WAIT or (i.test and i.test[0] == Condition.ADMIN_FRAME)
    again = i.port == Port.FRAME and i.runs[0].address == isa.LENGTH_ADDRESS  # it may be compared with what was found
    if at_rest and rests:
        return everything
    if again:
        return frozenset(n for n, place in enumerate(places) if place != isa.LENGTH_ADDRESS)
    if i.test:
        return frozenset({FLAGS[i.test[0]]} if i.test[0] in FLAGS else ())
    if i.base == Base.BYTE and i.op != Op.SET:
        return frozenset(n for n, place in enumerate(places) if place == i.place)
    counted = any(run.length is None for run in i.runs)
    read = [isa.LENGTH_ADDRESS] if counted else []
    if i.move in (Move.COPY, Move.INCREMENT) or i.direction == Direction.GIVE:
        read += range(i.runs[-1].address, i.runs[-1].address + (i.runs[-1].length or 127))
    shelf = frozenset({"shelf"} if i.port == Port.PUF and i.move is None else ())
    return frozenset(n for n, place in enumerate(places) if place in read) | shelf


def sets(i: Instruction, places: tuple[int, ...]) -> frozenset:
    """What an instruction sets, whatever it was."""
    if i.base == Base.BYTE:
        written = frozenset(places.index(i.place) for _ in range(i.op == Op.SET and i.place in places))
        return written | frozenset({"zero", "carry"} if i.op in (Op.ADD, Op.COMPARE) else {"zero"})
    if i.unit == Operand.PUF:
        return frozenset({"shelf"})
    if i.move in (Move.LESS, Move.INCREMENT):
        return frozenset({"zero", "carry"})
    if i.direction == Direction.TAKE and i.port != Port.TRNG and i.runs[0].length is not None:
        return frozenset(n for n, place in enumerate(places) if place in range(*i.runs[0].span))
    return frozenset({"match"} if i.direction in (Direction.CHECK, Direction.CRYPT) else ())


def grow(log: tuple, item) -> tuple:
    """A log with one item more; runs that follow each other are one."""
    last = log[-1] if log else None
    if isinstance(item, tuple) and isinstance(last, tuple) and None not in (item[1], last[1]) and sum(last) == item[0]:
        return (*log[:-1], (last[0], last[1] + item[1]))
    return (*log, item)


def log_of(*items) -> tuple:
    """A log as `State.sponge` has it: fields, numbers, END."""
    log: tuple = ()
    for item in items:
        log = grow(log, (item.address, item.length) if hasattr(item, "address") else item)
    return log
