"""Lays a program out in the code memory: table, addresses, the shortest form of every branch."""

from collections import Counter
from dataclasses import dataclass, field

from . import isa, nodes
from .isa import Base, Move, Operand, Strobe
from .nodes import Branch, Call, Derive, Jump, Label, Node, Phase, Plain, Return

NOTHING = bytes([Base.STROBE | Strobe.NOTHING])


@dataclass(frozen=True)
class Rom:
    """A linked program.

    Attributes
    ----------
    data
        Contents of the code memory.
    start
        Where the program begins.
    phases
        Address of an instruction to the phase that begins with it.
    labels
        Addresses of routines.
    depth
        How deep calls nest at most.
    table
        All rows of the table, if those behind the vectors are in a memory of their own: of a program that has no room
        for them.
    """

    data: bytes
    start: int
    phases: dict[int, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    depth: int = 0
    table: bytes = b""

    def __len__(self) -> int:
        return len(self.data)


def link(program: list[Node], entry: str, capacity: int = 1 << isa.TARGET) -> Rom:
    """Bytes of a program.

    Raises
    ------
    ValueError
        Calls nest too deep or in a circle, or table or code is too long.
    """
    depth = call_depth(program, entry)
    if depth > isa.STACK_ROWS:
        raise ValueError(f"calls nest {depth} deep, the stack has {isa.STACK_ROWS} rows")
    for apart in (False, True):
        table = Table(program, depth, apart=apart)
        layout = arrange(program, table)
        if layout.end <= capacity:
            break
    else:
        raise ValueError(f"the program has {layout.end} bytes, the code memory {capacity}")
    rows, code = table.encode(layout.labels), layout.encode()
    return Rom(
        rows[: table.size] + code,
        layout.labels[entry],
        layout.phases,
        layout.labels,
        depth,
        rows if apart else b"",
    )


# ---------------------------------------------------------------------------------------------------------- the stack


def call_depth(program: list[Node], entry: str) -> int:
    """How many return addresses lie on the stack at most."""
    places = {node.name: k for k, node in enumerate(program) if isinstance(node, Label)}
    depths: dict[str, int] = {}

    def visit(routine: str, path: tuple[str, ...]) -> int:
        if routine in path:
            raise ValueError(f"calls in a circle: {' -> '.join((*path, routine))}")
        if routine not in depths:
            calls = _calls(program, places, routine)
            depths[routine] = max((1 + visit(name, (*path, routine)) for name in sorted(calls)), default=0)
        return depths[routine]

    return visit(entry, ())


def _calls(program: list[Node], places: dict[str, int], routine: str) -> set[str]:
    """Whom a routine calls, wherever its jumps lead."""
    calls, seen, waiting = set(), set(), [places[routine]]
    while waiting:
        k = waiting.pop()
        if k in seen:
            continue
        if k == len(program):
            raise ValueError(f"routine {routine!r} runs out of the program's end")
        seen.add(k)
        node = program[k]
        if isinstance(node, Call):
            calls.add(node.target)
        elif isinstance(node, Jump | Branch):
            waiting.append(places[node.target])
        if not nodes.leaves(node):
            waiting.append(k + 1)
    return calls


# ---------------------------------------------------------------------------------------------------------- the table


class Table:
    """Which row of the table is what: stack, labels of derivations, vectors of frequent calls, fields.

    ``size`` is what it takes of the code memory: all of it, or with ``apart`` only rows that jumps go to.
    """

    def __init__(self, program: list[Node], depth: int, *, apart: bool = False):
        labels = Counter(node.label for node in program if isinstance(node, Derive))
        derived = [label for label, _ in labels.most_common(len(isa.LABEL_ROWS))]  # the others are fields like any
        calls = Counter(node.target for node in program if isinstance(node, Call))
        frequent = [name for name, count in calls.most_common(len(isa.VECTOR_ROWS)) if count > 2]
        self.derivations = dict(zip((label for label in labels if label in derived), isa.LABEL_ROWS, strict=False))
        self.vectors = dict(zip(frequent, isa.VECTOR_ROWS, strict=False))
        rows = [row for node in program if isinstance(node, Plain) for row in node.rows]
        fields = dict.fromkeys([*rows, *(label for label in labels if label not in self.derivations)])
        taken = {*range(depth), *self.derivations.values(), *self.vectors.values()}
        free = [n for n in range(isa.ROWS) if n not in taken]
        if len(fields) > len(free):
            raise ValueError(f"the program uses {len(fields)} fields, the table has room for {len(free)}")
        self.fields = dict(zip(fields, free, strict=False))
        self.rows = max({*taken, *self.fields.values()}, default=-1) + 1
        self.size = 2 * min(self.rows, isa.VECTOR_ROWS.stop if apart else self.rows)

    def encode(self, labels: dict[str, int]) -> bytes:
        rows = {n: isa.field(*row) for row, n in (self.derivations | self.fields).items()}
        rows |= {n: isa.jump(labels[name]) for name, n in self.vectors.items()}
        return b"".join(rows.get(n, bytes(2)) for n in range(self.rows))


# ------------------------------------------------------------------------------------------------------------ layout


def arrange(program: list[Node], table: Table) -> "Layout":
    """The best layout found by putting the targets of long branches next to where they are branched to."""
    best = Layout(program, table)
    tried = set()
    while moves := [far for far in best.far() if far[1] not in tried]:
        place, label = moves[0]
        tried.add(label)
        pieces = nodes.pieces(best.program)
        goal = next(k for k, piece in enumerate(pieces) if Label(label) in piece)
        branch = best.program[place]
        for shift in (0, 1):
            rest = pieces[:goal] + pieces[goal + 1 :]
            home = next((k for k, piece in enumerate(rest) if any(node is branch for node in piece)), None)
            if home is None:
                break
            rest.insert(home + shift, pieces[goal])
            layout = Layout([node for piece in rest for node in piece], table)
            if layout.end < best.end:
                best = layout
    return best


class Layout:
    """Addresses of all nodes. Starts with the shortest form of every branch and lengthens those that do not reach."""

    def __init__(self, program: list[Node], table: Table):
        self.program, self.table = program, table
        self.sizes = [self._least(k) for k in range(len(program))]
        while True:
            self._place()
            needed = [self._needed(k) for k in range(len(program))]
            if all(size >= need for size, need in zip(self.sizes, needed, strict=True)):
                break
            self.sizes = [max(pair) for pair in zip(self.sizes, needed, strict=True)]

    def _least(self, k: int) -> int:
        match self.program[k]:
            case Branch():
                return 1
            case Call(target):
                return 1 if target in self.table.vectors else 2
            case Derive(label):
                return 1 if label in self.table.derivations else 4
            case Phase():  # who jumps to a label right behind it is not in this phase
                return int(k + 1 < len(self.program) and isinstance(self.program[k + 1], Label))
            case node:
                return nodes.size(node)

    def _place(self) -> None:
        self.labels: dict[str, int] = {}
        self.phases: dict[int, int] = {}
        self.addresses: list[int] = []
        self._jump_places: dict[tuple[str, int], int] = {}
        address = self.table.size
        for node, size in zip(self.program, self.sizes, strict=True):
            self.addresses.append(address)
            match node:
                case Label(name):
                    self.labels[name] = address
                case Phase(value):
                    self.phases[address] = value
                case Jump(target):
                    self._jump_places[target, address // isa.PAGE] = address
                case Branch(target=target) if size > 2:  # ends with a jump
                    self._jump_places[target, (address + size - 2) // isa.PAGE] = address + size - 2
            address += size
        self.end = address

    def _needed(self, k: int) -> int:
        return len(self._branch(k)) if isinstance(self.program[k], Branch) else 0

    def _branch(self, k: int) -> bytes:
        """The shortest form of a branch from where it stands to where its target stands now; once long, always long."""
        node, address = self.program[k], self.addresses[k]
        condition, unless, target = node.condition, node.unless, self.labels[node.target]
        if self.sizes[k] <= 2:
            if condition in isa.SKIP_CONDITIONS and 1 <= target - address - 1 <= isa.SKIP_MAX:
                return isa.skip(condition, unless, target - address - 1)
            page = (address + 1) // isa.PAGE
            if target // isa.PAGE == page:
                return isa.branch(condition, unless, target)
            if (node.target, page) in self._jump_places:
                return isa.branch(condition, unless, self._jump_places[node.target, page])
        if condition in isa.SKIP_CONDITIONS:
            around = isa.skip(condition, not unless, 2)
            return NOTHING * (self.sizes[k] - 3) + around + isa.jump(target)
        address += max(self.sizes[k] - 4, 0)
        while (address + 1) // isa.PAGE != (address + 4) // isa.PAGE:
            address += 1
        around = isa.branch(condition, not unless, address + 4)
        return NOTHING * (address - self.addresses[k]) + around + isa.jump(target)

    def far(self) -> list[tuple[int, str]]:
        """Places and targets of long branches."""
        return [
            (k, node.target) for k, node in enumerate(self.program) if isinstance(node, Branch) and self.sizes[k] > 2
        ]

    def encode(self) -> bytes:
        out = bytearray()
        for k, size in enumerate(self.sizes):
            code = self._encode(k)
            out += code + NOTHING * (size - len(code))
        return bytes(out)

    def _encode(self, k: int) -> bytes:
        match self.program[k]:
            case Branch():
                return self._branch(k)
            case Plain(opcode, rows, data):
                return bytes([opcode, *(self.table.fields[row] for row in rows)]) + data
            case Derive(label) if label in self.table.derivations:
                return bytes([Base.DERIVE | self.table.derivations[label] - isa.LABEL_ROWS[0]])
            case Derive(label):  # the same in two instructions
                return bytes([Base.OPERAND | Operand.START, isa.CUSTOM, Move.GIVE_END, self.table.fields[label]])
            case Jump(target):
                return isa.jump(self.labels[target])
            case Call(target):
                if target in self.table.vectors:
                    return bytes([Base.VECTOR | self.table.vectors[target] - isa.VECTOR_ROWS[0]])
                return isa.call(self.labels[target])
            case Return(None):
                return bytes([Base.STROBE | Strobe.RETURN])
            case Return(condition, unless):
                return isa.return_if(condition, unless)
        return b""
