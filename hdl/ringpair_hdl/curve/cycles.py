"""How long a routine takes, from its program: possible where nothing but the counter is branched on."""

from .assembler import Code
from .isa import Kind, Op

__all__ = ["cycles"]

PRODUCTS, SQUARES = 256, 136


def cycles(code: Code, name: str) -> int:
    """Cycles from the first word of a leaf or routine to its last.

    Raises
    ------
    ValueError
        It branches on the flag, or waits for bytes: its duration is not that of its words.
    """
    address, count, elapsed, square = code.labels[name], 0, 0, False
    stack: list[int] = []
    while True:
        instruction = code.listing[address]
        elapsed += 1
        following = address + 1
        target = code.labels[instruction.target] if instruction.target else None
        match instruction.op:
            case None:
                elapsed += (SQUARES if square else PRODUCTS) - 1 if instruction.kind == Kind.SCAN else 0
                elapsed += instruction.repeat - 1
            case Op.IF_FLAG | Op.LOAD_X:
                raise ValueError(f"{name!r} branches on lengths or public values")
            case Op.JUMP:
                following = target
            case Op.CALL | Op.POINT | Op.SQUARE:
                stack.append(following)
                following = target
                square = square if instruction.op == Op.CALL else instruction.op == Op.SQUARE
            case Op.RETURN if stack:
                following = stack.pop()
            case Op.RETURN | Op.DONE | Op.IDLE:
                return elapsed
            case Op.LOAD:
                count = instruction.pointers[0] | instruction.pointers[1] << 4
            case Op.COUNT:
                following, count = (target if count else following), (count - 1) % 256
            case Op.IF_LOW:
                following = target if count < 16 else following
        address = following
