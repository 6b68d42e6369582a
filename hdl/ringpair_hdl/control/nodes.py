"""What a program consists of between the assembler, which writes it, and the linker, which makes bytes of it."""

from dataclasses import dataclass

from . import isa
from .isa import Condition

Row = tuple[int, int]
"""Address and length of a field: a row of the table in the code memory."""


@dataclass(frozen=True)
class Label:
    name: str


@dataclass(frozen=True)
class Plain:
    """An instruction that goes on to the next: opcode, indexes of fields, immediate bytes."""

    opcode: int
    rows: tuple[Row, ...] = ()
    data: bytes = b""


@dataclass(frozen=True)
class Derive:
    label: Row


@dataclass(frozen=True)
class Jump:
    target: str


@dataclass(frozen=True)
class Call:
    target: str


@dataclass(frozen=True)
class Branch:
    condition: Condition
    unless: bool
    target: str

    def inverted(self, target: str) -> "Branch":
        return Branch(self.condition, not self.unless, target)


@dataclass(frozen=True)
class Return:
    """Back to the caller, always or if a condition holds."""

    condition: Condition | None = None
    unless: bool = False


@dataclass(frozen=True)
class Phase:
    """No instruction: whoever comes here is in this phase."""

    value: int


Node = Label | Plain | Derive | Jump | Call | Branch | Return | Phase


def leaves(node: Node) -> bool:
    """Nothing goes on behind this node."""
    return node == Return() or isinstance(node, Jump)


def target(node: Node) -> str | None:
    return node.target if isinstance(node, Jump | Call | Branch) else None


def size(node: Node) -> int:
    """Bytes, at least."""
    match node:
        case Label() | Phase():
            return 0
        case Plain():
            return 1 + len(node.rows) + len(node.data)
        case Jump() | Call() | Branch():
            return 2
        case _:
            return 1


def pieces(program: list[Node]) -> list[list[Node]]:
    """Cut where nothing goes on; the order of the pieces is free."""
    cut: list[list[Node]] = [[]]
    for node in program:
        cut[-1].append(node)
        if leaves(node):
            cut.append([])
    return cut if cut[-1] else cut[:-1]


def returns_on(condition: Condition) -> bool:
    return condition in isa.RETURN_CONDITIONS
