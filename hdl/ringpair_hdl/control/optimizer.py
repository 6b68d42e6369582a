"""Makes a program shorter without changing what it does: jumps made straight, common pieces written once."""

from collections import defaultdict

from . import isa, nodes
from .isa import Direction, Move, Port
from .nodes import Branch, Call, Jump, Label, Node, Plain, Return

LONGEST_PIECE = 24
"""Instructions in a piece that is looked for elsewhere."""


def optimize(program: list[Node], roots: set[str]) -> list[Node]:
    """The shortest equal program found; ``roots`` are labels that must stay."""
    return tidy(chain(outline(tidy(program, roots), roots)), roots)


def tidy(program: list[Node], roots: set[str]) -> list[Node]:
    """Straightens jumps, turns calls before a return into jumps, drops what nothing reaches."""
    while True:
        shorter = _merge(_drop_labels(_shorten(_straighten(program)), roots))
        if shorter == program:
            return program
        program = shorter


def _straighten(program: list[Node]) -> list[Node]:
    """A jump to a jump goes to its end, a jump to a return returns."""
    behind: dict[str, Node | None] = {}
    following: Node | None = None
    for node in reversed(program):
        if isinstance(node, Label):
            behind[node.name] = following
        else:
            following = node

    def end(label: str) -> str:
        seen = {label}
        while isinstance(step := behind[label], Jump) and step.target not in seen:
            label = step.target
            seen.add(label)
        return label

    def straight(node: Node) -> Node:
        match node:
            case Jump(target):
                return Return() if behind[end(target)] == Return() else Jump(end(target))
            case Call(target):
                return Call(end(target))
            case Branch(condition, unless, target):
                if behind[end(target)] == Return() and nodes.returns_on(condition):
                    return Return(condition, unless)
                return Branch(condition, unless, end(target))
        return node

    return [straight(node) for node in program]


def _shorten(program: list[Node]) -> list[Node]:
    """Rules on neighbors, and nothing behind a node that leaves up to the next label."""
    out: list[Node] = []
    k = 0
    while k < len(program):
        node, following = program[k], program[k + 1] if k + 1 < len(program) else None
        k += 1
        match node, following:
            case Jump(target) | Branch(target=target), _ if _stands(program, k, target):
                continue
            case Branch(target=target), Jump(elsewhere) if _stands(program, k + 1, target):
                node, k = node.inverted(elsewhere), k + 1
            case Branch(condition, unless, target), Return(None) if _stands(program, k + 1, target):
                if nodes.returns_on(condition):
                    node, k = Return(condition, not unless), k + 1
            case Return(condition, unless), Return(None) if condition is not None:
                continue
            case Call(target), _ if _next(program, k) == Return():
                node = Jump(target)
        out.append(node)
        if nodes.leaves(node):
            while k < len(program) and not isinstance(program[k], Label):
                k += 1
    return out


def _stands(program: list[Node], k: int, label: str) -> bool:
    """Label ``label`` is at place ``k``, among other labels perhaps."""
    while k < len(program) and isinstance(node := program[k], Label):
        if node.name == label:
            return True
        k += 1
    return False


def _next(program: list[Node], k: int) -> Node | None:
    while k < len(program) and isinstance(program[k], Label):
        k += 1
    return program[k] if k < len(program) else None


def _drop_labels(program: list[Node], roots: set[str]) -> list[Node]:
    used = {nodes.target(node) for node in program} | roots
    return [node for node in program if not isinstance(node, Label) or node.name in used]


def chain(program: list[Node]) -> list[Node]:
    """Puts what a jump goes to right behind it where nothing else stands there, so that the jump can go."""
    chunks = nodes.pieces(program)
    starts = {}  # label at the start of a chunk: its number
    for number, chunk in enumerate(chunks):
        for node in chunk:
            if not isinstance(node, Label):
                break
            starts[node.name] = number
    following: dict[int, int] = {}
    first = list(range(len(chunks)))  # of the chain that ends with this chunk

    for number, chunk in enumerate(chunks):
        goal = starts.get(chunk[-1].target) if isinstance(chunk[-1], Jump) else None
        if goal is None or goal in following.values() or goal == first[number]:
            continue
        following[number] = goal
        while goal in following:
            goal = following[goal]
        first[goal] = first[number]
    out: list[Node] = []
    for number in sorted(set(range(len(chunks))) - set(following.values())):
        k: int | None = number
        while k is not None:
            out += chunks[k]
            k = following.get(k)
    return out


GIVES = [isa.move(Direction.GIVE, port) for port in (Port.SPONGE, Port.LINK, Port.SPI, Port.PUF)]
TAKES = [isa.move(Direction.TAKE, port) for port in (Port.SPONGE, Port.LINK, Port.PUF, Port.ZERO)]
MERGED = {(code, code): code for code in (*GIVES, *TAKES, Move.COPY)} | {(GIVES[0], Move.GIVE_END): Move.GIVE_END}
"""Moves that make one if their fields follow each other."""


def _merge(program: list[Node]) -> list[Node]:
    """Moves of neighboring fields become one."""
    out: list[Node] = []
    for node in program:
        last = out[-1] if out else None
        if isinstance(node, Plain) and isinstance(last, Plain) and (merged := _merged(last, node)):
            out[-1] = merged
        else:
            out.append(node)
    return out


def _merged(first: Plain, second: Plain) -> Plain | None:
    opcode = MERGED.get((first.opcode, second.opcode))
    if opcode is None:
        return None
    if not all(a and b and at + a == to for (at, a), (to, b) in zip(first.rows, second.rows, strict=True)):
        return None
    length = first.rows[0][1] + second.rows[0][1]
    if not isa.fits(length):
        return None
    starts = [address for address, _ in first.rows]
    if max(starts) - min(starts) < length and len(starts) > 1:  # target and source overlap
        return None
    return Plain(opcode, tuple((address, length) for address in starts))


def outline(program: list[Node], roots: set[str]) -> list[Node]:
    """Pieces that occur several times become routines, the best first; endings are shared by jumping there."""
    count = 0
    while True:
        gain, piece, places = _best_piece(program)
        if gain <= 0:
            return program
        program = tidy(_replace(program, piece, places, f"@{count}"), roots)
        count += 1


def _best_piece(program: list[Node]) -> tuple[int, tuple[Node, ...], list[int]]:
    places: dict[tuple[Node, ...], list[int]] = defaultdict(list)
    for start in range(len(program)):
        ending_only = False  # a piece that may leave half-way can be jumped to, not called
        for end in range(start, min(start + LONGEST_PIECE, len(program))):
            node = program[end]
            if isinstance(node, Label):
                break
            ending_only |= isinstance(node, Branch) or (isinstance(node, Return) and node.condition is not None)
            if (end > start or isinstance(node, Plain)) and (nodes.leaves(node) or not ending_only):
                places[tuple(program[start : end + 1])].append(start)
            if nodes.leaves(node):
                break
    best: tuple[int, tuple[Node, ...], list[int]] = (0, (), [])
    for piece, starts in places.items():
        if len(starts) > 1:
            apart = _apart(starts, len(piece))
            if (gain := _gain(piece, len(apart))) > best[0]:
                best = gain, piece, apart
    return best


def _apart(starts: list[int], length: int) -> list[int]:
    """Those that do not overlap."""
    apart: list[int] = []
    for start in starts:
        if not apart or start >= apart[-1] + length:
            apart.append(start)
    return apart


def _gain(piece: tuple[Node, ...], count: int) -> int:
    """Bytes saved: a call takes 2, or 1 and 2 in the table; a routine one more than its piece."""
    length = sum(map(nodes.size, piece))
    if nodes.leaves(piece[-1]):
        return (count - 1) * (length - 2)
    return max(count * (length - 2) - length - 1, count * (length - 1) - length - 3)


def _replace(program: list[Node], piece: tuple[Node, ...], places: list[int], name: str) -> list[Node]:
    ending = nodes.leaves(piece[-1])
    out: list[Node] = []
    end = 0
    for number, place in enumerate(places):
        out += program[end:place]
        end = place + len(piece)
        if not ending:
            out.append(Call(name))
        elif number == 0:
            out += [Label(name), *piece]
        else:
            out.append(Jump(name))
    out += program[end:]
    return out if ending else [*out, Label(name), *piece, Return()]
