"""Nothing is used before it is there: each instruction, and the few cycles after it on all paths."""

from collections.abc import Iterator
from dataclasses import dataclass

from .constants import SMALL, Rom
from .elements import RESERVED, SWAPPED, Element
from .flow import USES_A, Flow, Refused, where
from .isa import Form, Kind, Op

__all__ = ["Pipeline"]

LATENCY = 2
"""Cycles after a write, or a change of the flag, in which it must not be used."""
GROUP = 64
"""Limbs that an index wraps around in."""
RINGED = 16
SMALLEST_NEGATIVE = 0x8000


@dataclass(frozen=True)
class Place:
    """A limb: of an element, or of what a pointer names."""

    limb: int  # of the memory, or of the element
    pointer: bool = False

    @classmethod
    def of(cls, operand, index: int) -> "Place":
        step = index if operand.vector else 0
        if operand.pointer:
            return cls(operand.limb + step, True)
        limb = 16 * operand.element + operand.limb
        return cls(limb // GROUP * GROUP + (limb + step) % GROUP)

    def may_be(self, other: "Place") -> bool:
        """Whether both can be the same limb. Pointers do not name what the leaves reserve, see `Lifetimes`."""
        if self.pointer == other.pointer:
            return self.limb == other.limb
        fixed, pointed = (other, self) if self.pointer else (self, other)
        return fixed.limb % 16 == pointed.limb and fixed.limb // 16 not in RESERVED

    def turned(self) -> "Place":
        """The same limb, as the ring addresses it after the counter went down."""
        if self.pointer or self.limb // 16 >= RINGED:
            return self
        return Place(self.limb // GROUP * GROUP + (self.limb + 4) % GROUP)


def steps(instruction) -> Iterator[tuple[list[Place], Place | None]]:
    """What each cycle reads and writes."""
    a, b, w = instruction.a, instruction.b, instruction.w
    used = instruction.form in USES_A or instruction.kind == Kind.X
    if instruction.kind != Kind.SCAN:
        for index in range(instruction.repeat):
            reads = [Place.of(x, index) for x in (a if used else None, b) if x is not None and x.element < 32]
            yield reads, None if w is None else Place.of(w, index)
        return
    for k in range(31):
        for i in range(max(0, k - 15), min(k, 15) + 1):
            reads = [Place.of(a, i)] + ([Place.of(b, k - i)] if b.element < 32 else [])
            yield reads, Place.of(w, k) if i == min(k, 15) else None


class Pipeline:
    """Nothing is used before it is there."""

    def __init__(self, code):
        self.code, self.flow = code, Flow(code)

    def check(self):
        for address, instruction in enumerate(self.code.listing):
            if instruction is None or instruction.kind == Kind.CONTROL:
                continue
            self.check_steps(address, instruction)
            self.check_alone(address, instruction)
            last = list(steps(instruction))[-LATENCY:]
            written = [(place, LATENCY - age) for age, (_, place) in enumerate(reversed(last)) if place is not None]
            for following in self.flow.following(address):
                self.walk(address, instruction, following, 1, written)

    def refuse(self, address, what):
        raise Refused(f"{where(self.code, address)}: {what}")

    def check_steps(self, address, instruction):
        cycles = list(steps(instruction))
        for number, (_, written) in enumerate(cycles):
            for reads, _ in cycles[number + 1 : number + 1 + LATENCY]:
                if written is not None and any(written.may_be(place) for place in reads):
                    self.refuse(address, "a step reads what one of the two before it writes")

    def check_alone(self, address, instruction):
        operands = [x for x in (instruction.a, instruction.b, instruction.w) if x is not None and not x.pointer]
        if instruction.flag and instruction.repeat > 1 and any(x.element < SWAPPED for x in operands):
            self.refuse(address, "the flag changes while elements below 4 are in use: they would change places")
        if instruction.w is not None and not instruction.w.pointer and instruction.w.element == Element.ZERO:
            self.refuse(address, "element 31 must stay 0")
        if instruction.sub and instruction.form == Form.A_TIMES_B:
            b = instruction.b
            if b is None or b.element != Rom.SMALL or b.pointer or SMALL[b.limb] > SMALLEST_NEGATIVE:
                self.refuse(address, "a product that is subtracted must be below 2^31: multiply by at most 0x8000")

    def walk(self, origin, first, address, cycle, written):
        """Follow all paths from an instruction for as long as its results are not there."""
        if cycle > LATENCY:
            return
        instruction = self.code.listing[address]
        if instruction.kind != Kind.CONTROL:
            cycle = self.check_use(origin, first, address, cycle, written)
        else:
            if instruction.op == Op.IF_FLAG and first.flag:
                self.refuse(address, f"the flag is not there yet, {where(self.code, origin)} sets it: wait")
            if instruction.op == Op.LOAD_X and first.kind == Kind.X and first.unit and cycle < LATENCY:
                self.refuse(address, f"X is not there yet, {where(self.code, origin)} changes it: wait")
            if instruction.op == Op.COUNT:
                written = [*written, *((place.turned(), left) for place, left in written)]
            cycle += 1
        for following in self.flow.following(address):
            self.walk(origin, first, following, cycle, written)

    def check_use(self, origin, first, address, cycle, written):
        instruction = self.code.listing[address]
        if instruction.form == Form.BYTE and first.form == Form.BYTE and cycle == 1:
            self.refuse(address, "two bytes cannot be taken in successive cycles: wait")
        for reads, _ in steps(instruction):
            if cycle > LATENCY:
                break
            for place, left in written:
                if cycle <= left and any(place.may_be(read) for read in reads):
                    self.refuse(address, f"reads what {where(self.code, origin)} has not written yet: wait")
            operands = [x for x in (instruction.a, instruction.b, instruction.w) if x is not None]
            if first.flag and any(x.pointer or x.element < SWAPPED for x in operands):
                self.refuse(address, f"uses elements that the flag of {where(self.code, origin)} may swap: wait")
            cycle += 1
        return cycle
