"""From bytes back to instructions: what :mod:`.isa` says, read the other way round.

The interpreter that the gateware is compared with runs what comes out here, and the analysis of the program's paths
(`formal/paths.py`) follows it: so what is proven of the program is proven of the bytes in the code memory.
"""

from dataclasses import dataclass
from functools import cached_property

from . import isa
from .isa import Base, Condition, Direction, Move, Op, Operand, Port, Strobe

BASES = sorted(Base, reverse=True)
TWO_ROWS = (Move.COPY, Move.LESS, isa.move(Direction.CRYPT, Port.SPONGE))


@dataclass(frozen=True)
class Run:
    """A run of bytes in the scratchpad; without a length, of as many as the byte at ``LENGTH_ADDRESS`` says."""

    address: int
    length: int | None

    @property
    def span(self) -> tuple[int, int]:
        return self.address, self.address + (self.length or 0)


def run_of(code: bytes, row: int, table: bytes = b"") -> Run:
    """A row of the table; ``table`` is that of a `Rom`."""
    memory = table if table and row >= isa.VECTOR_ROWS.stop else code
    low, high = memory[2 * row : 2 * row + 2]
    length = high >> 2
    if length >= isa.EXACT:
        length = (length - isa.EXACT) * 4
    return Run(low | (high & 3) << 8, length or None)


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes
    ----------
    address, size
        Where it stands, and bytes of it.
    base, opcode
        Its kind and its first byte.
    operand
        The byte behind the opcode, if it is no row and no address.
    place
        Of a BYTE: where in the scratchpad.
    rows, runs
        Of a MOVE or DERIVE: rows of the table, and what they say.
    data
        Of a TAKE_CODE with a length: the bytes.
    """

    address: int
    size: int
    base: Base
    opcode: int
    operand: int = 0
    place: int = 0
    rows: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()
    data: bytes = b""

    @property
    def following(self) -> int:
        return self.address + self.size

    @cached_property
    def test(self) -> tuple[Condition, bool] | None:
        """Condition of a BRANCH, SKIP or RETURN_IF, and whether its contrary is meant."""
        if self.base == Base.BRANCH:
            return Condition(self.opcode >> 1), bool(self.opcode & 1)
        if self.base == Base.SKIP:
            return Condition(self.opcode >> 4 & 1), bool(self.opcode >> 3 & 1)
        if self.base == Base.RETURN_IF:
            return Condition(self.opcode >> 1 & 3), bool(self.opcode & 1)
        return None

    @cached_property
    def target(self) -> int | None:
        """Where it may go instead of on; a VECTOR goes to the JUMP in its row."""
        match self.base:
            case Base.BRANCH:
                return (self.address + 1) & ~(isa.PAGE - 1) | self.operand
            case Base.SKIP:
                return self.following + (self.opcode & 7) + 1
            case Base.JUMP | Base.CALL:
                return (self.opcode & 15) << 8 | self.operand
            case Base.VECTOR:
                return 2 * (isa.VECTOR_ROWS[0] + (self.opcode & 31))
        return None

    @cached_property
    def returns(self) -> bool:
        return self.base == Base.RETURN_IF or self.strobe == Strobe.RETURN

    @cached_property
    def op(self) -> Op | None:
        return Op((self.opcode - Base.BYTE >> 3) ^ 4) if self.base == Base.BYTE else None

    @cached_property
    def strobe(self) -> Strobe | None:
        return Strobe(self.opcode & 7) if self.base == Base.STROBE else None

    @cached_property
    def unit(self) -> Operand | None:
        return Operand(self.opcode & 7) if self.base == Base.OPERAND else None

    @cached_property
    def direction(self) -> Direction | None:
        """Of a move with a port; none if it is one of ``isa.Move``, which only look alike."""
        return Direction(self.opcode >> 3 & 3) if self.base == Base.MOVE and self.move is None else None

    @cached_property
    def port(self) -> Port | None:
        return Port(self.opcode & 7) if self.direction is not None else None

    @cached_property
    def move(self) -> Move | None:
        return Move(self.opcode) if self.base == Base.MOVE and self.opcode in list(Move) else None


def decode(code: bytes, address: int, table: bytes = b"") -> Instruction:
    """The instruction at an address of the code memory; ``table`` is that of a `Rom`.

    Raises
    ------
    IndexError
        It, or a row that it names, lies outside the memory.
    """
    opcode = code[address]
    base = next(base for base in BASES if opcode >= base)
    size, operand, place, rows = 1, 0, 0, ()
    match base:
        case Base.BRANCH | Base.JUMP | Base.CALL | Base.OPERAND:
            size, operand = 2, code[address + 1]
        case Base.DERIVE:
            rows = (isa.LABEL_ROWS[opcode & 15],)
        case Base.MOVE:
            size = 3 if opcode in TWO_ROWS else 2
            rows = tuple(code[address + 1 : address + size])
        case Base.BYTE:
            hot = opcode & 7
            size = 2 if hot < len(isa.HOT) else 3
            place = isa.HOT[hot] if size == 2 else code[address + 1]
            operand = code[address + size - 1]
    runs = tuple(run_of(code, row, table) for row in rows)
    data = b""
    if opcode == Move.TAKE_CODE and runs[0].length is not None:
        data = bytes(code[address + size : address + size + runs[0].length])
        size += len(data)
    return Instruction(address, size, base, opcode, operand, place, rows, runs, data)
