"""Writes microprograms in Python that reads like the formulas.

A leaf computes: inside ``with p.leaf("name"):`` each call emits one instruction. A routine arranges: it calls leaves
and other routines, ``p.call("mul", OUT, A, B)``, and branches. `Program.link` resolves the names, and refuses what the
pipeline, the lifetimes of values, or a secret forbid (`checks.py`).

Operands: ``V(element)`` all limbs, one a step; ``L(element, limb)`` one limb; ``PV()`` and ``PL(limb)`` the same of the
element that the call of the leaf names for the port. Constants are elements of `constants.Rom`, for operand B only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from . import isa
from .constants import SMALL, Rom
from .elements import Element
from .isa import Form, Kind, Op, Pre, Unit, Word

__all__ = ["PL", "PV", "Code", "Instruction", "L", "Operand", "Program", "V", "small"]


@dataclass(frozen=True)
class Operand:
    """A limb, or limbs from one on; `pointer`: of the element that the port's pointer names."""

    element: int
    limb: int = 0
    vector: bool = False
    pointer: bool = False

    def __post_init__(self):
        if not (0 <= self.element < 64 and 0 <= self.limb < 16):
            raise ValueError(f"there are elements 0..63 of limbs 0..15, not {self.element}, {self.limb}")
        if isa.NOWHERE <= self.element < isa.POINTER + 4:
            raise ValueError(f"elements 20..27 are reached by pointers only, not by name as {self.element}")


def V(element: int, limb: int = 0) -> Operand:
    """Limbs from this one on."""
    return Operand(element, limb, vector=True)


def L(element: int, limb: int = 0) -> Operand:
    """One limb."""
    return Operand(element, limb)


def PV(limb: int = 0) -> Operand:
    """Limbs, from this one on, of the pointed-at element."""
    return Operand(0, limb, vector=True, pointer=True)


def PL(limb: int = 0) -> Operand:
    """One limb of the pointed-at element."""
    return Operand(0, limb, pointer=True)


def small(value: int) -> Operand:
    """A constant of one limb."""
    if value not in SMALL:
        raise ValueError(f"{value} is not among the constants; add it to constants.SMALL, which has room for 16")
    return L(Rom.SMALL, SMALL.index(value))


NOTHING = L(Element.ZERO)


@dataclass(frozen=True)
class Instruction:
    """One word before it has an address.

    Attributes
    ----------
    fields : dict
        Of `isa.Word`, without the target.
    routine : str
        In which leaf or routine it stands.
    target : str
        Label of a jump or call.
    a, b, w : Operand
        Of computing words; None where it does not count.
    reveal : str
        Why the outcome may become public.
    swaps : bool
        Of a call: elements below 4 may change places by the flag.
    """

    kind: Kind
    routine: str
    op: Op | None = None
    target: str | None = None
    a: Operand | None = None
    b: Operand | None = None
    w: Operand | None = None
    form: Form = Form.B
    sub: bool = False
    pre: Pre = Pre.ZERO
    flag: bool = False
    unit: int = 0
    shift: int = 0
    repeat: int = 1
    pointers: tuple[int, int, int] = (0, 0, 0)
    reveal: str | None = None
    swaps: bool = False

    def encode(self, labels) -> int:
        """The word."""
        if self.kind == Kind.CONTROL:
            a, b, w = self.pointers
            control = {"op": self.op, "target": labels[self.target] if self.target else 0}
            return _const({"a": a, "b": b, "w": w, "kind": self.kind, "more": {"control": control}})
        a, b = self.a or NOTHING, self.b or NOTHING
        w, w_limb = (self.unit, self.shift) if self.kind == Kind.X else (isa.NOWHERE, 0)
        if self.w is not None:
            w, w_limb = _element(self.w), self.w.limb
        more = {"pre": self.pre, "flag": self.flag, "sub": self.sub, "form": self.form, "w_limb": w_limb}
        more |= {"repeat": self.repeat - 1 & 7}
        operands = {"a": _element(a), "b": _element(b), "w": w, "a_limb": a.limb, "b_limb": b.limb}
        return _const({**operands, "kind": self.kind, "more": {"compute": more}})


def _element(operand: Operand) -> int:
    return isa.POINTER if operand.pointer else operand.element


def _const(fields) -> int:
    return Word.const(fields).as_value().value


@dataclass(frozen=True)
class Code:
    """A linked program.

    Attributes
    ----------
    words : list of int
        The contents of the control memory.
    listing : list of Instruction
        By address; None where nothing stands.
    labels : dict
        Addresses by name.
    secret : frozenset of str
        Routines that secrets pass through.
    resumed : frozenset of str
        Commands that go on with what the one before left in the working elements.
    anywhere : frozenset of str
        Leaves that may write to any element.
    """

    words: list[int]
    listing: list[Instruction | None]
    labels: dict[str, int]
    secret: frozenset[str]
    resumed: frozenset[str]
    anywhere: frozenset[str]


class Program:
    """Leaves and routines."""

    def __init__(self):
        self.leaves: list[Instruction] = []
        self.routines: list[Instruction] = []
        self._section: list[Instruction] | None = None
        self._name = ""
        self._places: dict[str, tuple[list[Instruction], int]] = {}
        self._marks: dict[str, set[str]] = {"secret": set(), "resumed": set(), "anywhere": set()}
        self._swaps = False

    # ------------------------------------------------------------------------------------------------ structure
    @contextmanager
    def leaf(self, name: str, **marks: bool) -> Iterator[None]:
        """What computes. Its branches must depend on public limbs only.

        Marks: `resumed`, a command that goes on with what the one before left in the working elements; `anywhere`, it
        may write to any element.
        """
        with self._part(name, self.leaves, secret=True, **marks):
            yield

    @contextmanager
    def routine(self, name: str, *, secret: bool, swaps: bool = False, **marks: bool) -> Iterator[None]:
        """What calls. A secret one may branch on public limbs only; in one that `swaps` all calls do."""
        self._swaps = swaps
        with self._part(name, self.routines, secret=secret, **marks):
            yield
        self._swaps = False

    @contextmanager
    def _part(self, name, section, **marks):
        if self._section is not None:
            raise ValueError(f"{name!r} begins within {self._name!r}")
        self._section, self._name = section, name
        for mark, given in marks.items():
            if given:
                self._marks[mark].add(name)
        self.label(name)
        yield
        self._section = None

    def label(self, name: str):
        """A place to jump to."""
        if name in self._places:
            raise ValueError(f"label {name!r} is there already")
        self._places[name] = self._section, len(self._section)

    def has(self, name: str) -> bool:
        """Whether there is such a label."""
        return name in self._places

    def fresh(self) -> str:
        """A label that nobody has."""
        return f"{self._name}.{len(self._section)}"

    def _emit(self, instruction):
        if self._section is None:
            raise ValueError("an instruction stands outside any leaf or routine")
        if instruction.kind != Kind.CONTROL and self._section is not self.leaves:
            raise ValueError(f"only a leaf computes, and {self._name!r} is a routine: move this into a leaf")
        self._section.append(instruction)

    # ------------------------------------------------------------------------------------------------ computing
    def acc(self, a=None, b=None, w=None, *, pre=Pre.SHIFT, repeat=1, scan=False, **fields):
        """accumulator = pre(accumulator) + (addend ± factor·b), of `form`; its low limb to w; `repeat` steps."""
        if repeat not in isa.REPEATS:
            raise ValueError(f"a repetition has {isa.REPEATS} steps, not {repeat}")
        for name, operand in (("a", a), ("w", w)):
            if operand is not None and operand.element >= 32:
                raise ValueError(f"only operand b can be a constant, not {name}")
            if operand is not None and repeat > 1 and not operand.vector:
                raise ValueError(f"operand {name} moves on in a repetition: use V or PV")
        if b is not None and repeat > 1 and b.vector == (b.element >= isa.SCALARS):
            raise ValueError("in a repetition operand b is V or PV, or one of the constants from SMALL on")
        kind = Kind.SCAN if scan else Kind.ACC
        self._emit(Instruction(kind, self._name, a=a, b=b, w=w, pre=pre, repeat=repeat, **fields))

    def zero(self):
        """accumulator = 0."""
        self.acc(pre=Pre.ZERO)

    def term(self, b, w=None, **fields):
        """+ b"""
        self.acc(b=b, w=w, **fields)

    def term_19(self, b, **fields):
        """+ 19·b"""
        self.acc(b=b, form=Form.B_TIMES_19, **fields)

    def term_38(self, b, **fields):
        """+ 38·b"""
        self.acc(b=b, form=Form.B_TIMES_38, **fields)

    def sum(self, a, b=None, w=None, **fields):
        """+ a + b"""
        self.acc(a, b, w, form=Form.A_PLUS_B, **fields)

    def sum_38(self, a, b, w=None, **fields):
        """+ a + 38·b"""
        self.acc(a, b, w, form=Form.A_PLUS_B_TIMES_38, **fields)

    def product(self, a, b, w=None, **fields):
        """+ a·b"""
        self.acc(a, b, w, form=Form.A_TIMES_B, **fields)

    def carry(self, w=None, **fields):
        """The next limb: what was left over."""
        self.acc(w=w, **fields)

    def byte(self, w=None, **fields):
        """+ 256 times a byte from outside."""
        self.acc(b=small(1), w=w, form=Form.BYTE, **fields)

    def from_x(self, b=None, w=None, **fields):
        """+ X + b; X = 0."""
        self.acc(b=b, w=w, form=Form.X_PLUS_B, **fields)

    def xor(self, b, a=None, shift=0):
        """X ^= {a, b} >> shift"""
        self._emit(Instruction(Kind.X, self._name, a=a, b=b, unit=Unit.XOR, shift=shift))

    def select(self, a, b):
        """X = a where X is 1, b where it is 0."""
        self._emit(Instruction(Kind.X, self._name, a=a, b=b, unit=Unit.SELECT))

    def emit(self, a):
        """The low byte of a limb goes out."""
        self._emit(Instruction(Kind.X, self._name, a=a, unit=Unit.EMIT))

    def wait(self, cycles=1):
        """Nothing, for the pipeline."""
        self._emit(Instruction(Kind.X, self._name, repeat=cycles))

    # ------------------------------------------------------------------------------------------------ control
    def _control(self, op, target=None, pointers=(0, 0, 0), swaps=False):
        swaps = swaps or self._swaps
        self._emit(Instruction(Kind.CONTROL, self._name, op=op, target=target, pointers=pointers, swaps=swaps))

    def idle(self):
        self._control(Op.IDLE)

    def done(self):
        """The command is taken."""
        self._control(Op.DONE)

    def ret(self):
        self._control(Op.RETURN)

    def load(self, count: int, *, ring=False):
        """The counter; in ring mode 4·counter is added to the limbs of elements below 16 and of constants."""
        if not 0 <= count < 256:
            raise ValueError(f"the counter is 0..255, not {count}")
        self._control(Op.LOAD, pointers=(count & 15, count >> 4, int(ring)))

    def load_x(self):
        """The counter's low 4 bits from X, with ring mode."""
        self._control(Op.LOAD_X)

    def jump(self, target):
        self._control(Op.JUMP, target)

    def count(self, target):
        """Jump if the counter is not 0; it is decremented."""
        self._control(Op.COUNT, target)

    def if_flag(self, target):
        self._control(Op.IF_FLAG, target)

    def if_low(self, target):
        """Jump if the counter is below 16."""
        self._control(Op.IF_LOW, target)

    def enter(self, target):
        """Call with the pointers as they are."""
        self._control(Op.CALL, target)

    def call(self, target, w=0, a=0, b=0, *, square=False, swaps=False):
        """Call with pointers: the element to write and the operands. `swaps`: those below 4 as the flag says."""
        self._control(Op.SQUARE if square else Op.POINT, target, (a, b, w), swaps)

    @contextmanager
    def times(self, count: int) -> Iterator[None]:
        """A loop by the counter."""
        self.load(count - 1)
        label = self.fresh()
        self.label(label)
        yield
        self.count(label)

    # ------------------------------------------------------------------------------------------------ link
    def link(self, table: dict[int, str]) -> Code:
        """Resolve labels, lay out, check.

        Parameters
        ----------
        table : dict
            Which routine each of the 40 places of the dispatch table jumps to; the others to ``unknown``.
        """
        from .checks import check

        starts = {id(self.leaves): isa.WIPE + 1, id(self.routines): isa.WIPE + 1 + len(self.leaves)}
        labels = {name: starts[id(section)] + place for name, (section, place) in self._places.items()}
        jumps = [Instruction(Kind.CONTROL, "", op=Op.JUMP, target=name) for name in ("boot", "wipe")]
        listing: list[Instruction | None] = [*jumps, *self.leaves, *self.routines]
        last = starts[id(self.routines)]
        if last > isa.WIDE_WORDS:
            raise ValueError(f"leaves have room for {isa.WIDE_WORDS - 2} words, not {len(self.leaves)}")
        if len(listing) > isa.DISPATCH:
            raise ValueError(f"the program has room for {isa.DISPATCH} words, not {len(listing)}")
        listing += [None] * (isa.DISPATCH - len(listing))
        listing += [replace(jumps[0], target=table.get(place, "unknown")) for place in range(isa.WORDS - isa.DISPATCH)]
        for instruction in listing:
            if instruction is not None and instruction.target is not None and instruction.target not in labels:
                raise ValueError(f"there is no label {instruction.target!r}, which {instruction.routine!r} goes to")
        words = [0 if instruction is None else instruction.encode(labels) for instruction in listing]
        code = Code(words, listing, labels, **{mark: frozenset(names) for mark, names in self._marks.items()})
        check(code)
        return code
