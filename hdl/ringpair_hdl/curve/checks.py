"""What the linker refuses: what comes before its operands are there, lifetimes, and branches on secrets.

`Pipeline` looks at each instruction and the few cycles after it, on all paths. `Lifetimes` runs every command with
sets in place of values: which elements hold something, whether the flag is known to be 0, whether it is public.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import isa
from .constants import SMALL, Rom
from .elements import KEPT, PUBLIC_LIMBS, RESERVED, SWAPPED, WORKING, Element
from .isa import Form, Kind, Op, Pre

__all__ = ["Refused", "check"]

LATENCY = 2
"""Cycles after a write, or a change of the flag, in which it must not be used."""
CALLS = (Op.CALL, Op.POINT, Op.SQUARE)
BRANCHES = (Op.COUNT, Op.IF_FLAG, Op.IF_LOW)
USES_A = (Form.A_PLUS_B, Form.A_TIMES_B, Form.A_PLUS_B_TIMES_38)
GROUP = 64
"""Limbs that an index wraps around in."""
RINGED = 16
SMALLEST_NEGATIVE = 0x8000


class Refused(ValueError):
    """The program breaks a rule of the machine."""


def check(code):
    """All checks; raises `Refused` naming the routine and the instruction."""
    Pipeline(code).check()
    Lifetimes(code).check()
    check_stack(code)


def check_stack(code):
    """Calls within calls are as many as the return stack has levels."""
    flow, depths = Flow(code), {}

    def depth(entry):
        if entry not in depths:
            depths[entry] = 0  # a loop is not deeper for being a loop
            calls = (code.listing[address] for address in flow.reached(entry))
            inner = [depth(code.labels[call.target]) for call in calls if call.op in CALLS]
            depths[entry] = 1 + max(inner) if inner else 0
        return depths[entry]

    for name in ("boot", "wipe", *(code.listing[place].target for place in range(isa.DISPATCH, isa.WORDS))):
        if depth(code.labels[name]) > isa.STACK:
            raise Refused(f"{name!r} needs a return stack of {depth(code.labels[name])} levels, there are {isa.STACK}")


def where(code, address: int) -> str:
    """For messages."""
    instruction = code.listing[address]
    start = code.labels.get(instruction.routine, address)
    return f"{instruction.routine!r}, word {address - start}"


class Flow:
    """Which address may follow which.

    Attributes
    ----------
    returns : dict
        Where each RETURN may go.
    """

    def __init__(self, code):
        self.code = code
        self.returns: dict[int, set[int]] = {}
        for address, instruction in enumerate(code.listing):
            if instruction is not None and instruction.op in CALLS:
                for end in self.ends(code.labels[instruction.target]):
                    self.returns.setdefault(end, set()).add(address + 1)

    def within(self, address: int) -> list[int]:
        """Successors, calls taken as done."""
        instruction = self.code.listing[address]
        target = self.code.labels.get(instruction.target) if instruction.target else None
        if instruction.op == Op.JUMP:
            return [target]
        if instruction.op in BRANCHES:
            return [address + 1, target]
        if instruction.op in (Op.RETURN, Op.IDLE):
            return []
        return [address + 1]

    def reached(self, entry: int) -> set[int]:
        """All that may run from here on, calls taken as done."""
        seen, todo = set(), [entry]
        while todo:
            address = todo.pop()
            if address not in seen:
                seen.add(address)
                todo += self.within(address)
        return seen

    def ends(self, entry: int) -> set[int]:
        """The RETURNs that a call may end with."""
        return {address for address in self.reached(entry) if self.code.listing[address].op == Op.RETURN}

    def following(self, address: int) -> Iterator[int]:
        """What really comes next."""
        instruction = self.code.listing[address]
        if instruction.op in CALLS:
            yield self.code.labels[instruction.target]
        elif instruction.op == Op.RETURN:
            yield from self.returns.get(address, ())
        else:
            yield from self.within(address)


# ------------------------------------------------------------------------------------------------------- pipeline


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


# ------------------------------------------------------------------------------------------------------ lifetimes


@dataclass(frozen=True)
class State:
    """What is known at an instruction.

    Attributes
    ----------
    alive : frozenset of int
        Elements that hold something on all paths.
    flag_off, flag_public, sum_public : bool
        The flag is 0; flag and accumulator come from public numbers only.
    ring : bool
        An element below 16 may be any of its group of four.
    swaps : bool
        The caller means elements below 4 to change places by the flag.
    pointers : tuple
        Of A, B, W; None as long as they name the element of a command.
    """

    alive: frozenset
    flag_off: bool = True
    flag_public: bool = True
    sum_public: bool = False
    ring: bool = False
    swaps: bool = False
    pointers: tuple[int, int, int] | None = None

    def __or__(self, other: "State") -> "State":
        return State(
            self.alive & other.alive,
            self.flag_off and other.flag_off,
            self.flag_public and other.flag_public,
            self.sum_public and other.sum_public,
            self.ring or other.ring,
            self.swaps,
            self.pointers if self.pointers == other.pointers else None,
        )


class Lifetimes:
    """Runs every command with `State` in place of values."""

    def __init__(self, code):
        self.code, self.flow = code, Flow(code)
        self.known: dict[tuple[int, State], State | None] = {}

    def check(self):
        outside = frozenset(range(64)) - frozenset(WORKING)
        for place in range(isa.DISPATCH, isa.WORDS):
            target = self.code.listing[place].target
            alive = outside | frozenset(WORKING if target in self.code.resumed else ())
            self.run(self.code.labels[target], State(alive))
        for target in ("boot", "wipe"):
            self.run(self.code.labels[target], State(outside, flag_off=False))

    def refuse(self, address, what):
        raise Refused(f"{where(self.code, address)}: {what}")

    def run(self, entry: int, state: State) -> State | None:
        """State after a call; None if it never returns."""
        if (entry, state) in self.known:
            return self.known[entry, state]
        self.known[entry, state] = None
        before: dict[int, State] = {entry: state}
        todo, result = [entry], None
        while todo:
            address = todo.pop()
            instruction = self.code.listing[address]
            for following, after in self.outcomes(address, instruction, before[address]):
                if following is None:
                    result = after if result is None else result | after
                    continue
                joined = before[following] | after if following in before else after
                if before.get(following) != joined:
                    before[following] = joined
                    todo.append(following)
        self.known[entry, state] = result
        return result

    def outcomes(self, address, instruction, state) -> Iterator[tuple[int | None, State]]:
        """Where it goes on, and what is known there; None for a return."""
        op = instruction.op
        if instruction.kind != Kind.CONTROL:
            yield address + 1, self.computed(address, instruction, state)
        elif op in CALLS:
            after = self.run(self.code.labels[instruction.target], self.called(address, instruction, state))
            if after is not None:
                yield address + 1, replace(after, swaps=state.swaps)
        elif op == Op.RETURN:
            yield None, state
        elif op == Op.IF_FLAG:
            if not state.flag_public and instruction.routine in self.code.secret:
                self.refuse(address, "a branch depends on the flag, which may be secret, in a routine that is secret")
            yield address + 1, replace(state, flag_off=True)
            yield self.code.labels[instruction.target], replace(state, flag_off=False)
        elif op == Op.IDLE:
            if not state.flag_off:
                self.refuse(address, "the flag may be set when the command ends")
        else:
            ring = {Op.LOAD: bool(instruction.pointers[2]), Op.LOAD_X: True}.get(op, state.ring)
            for following in self.flow.within(address):
                yield following, replace(state, ring=ring)

    def called(self, address, instruction, state) -> State:
        """State at the beginning of what is called."""
        pointers = state.pointers if instruction.op == Op.CALL else instruction.pointers
        return replace(state, pointers=pointers, swaps=state.swaps or instruction.swaps)

    def computed(self, address, instruction, state) -> State:
        """State after a computing word."""
        reads, writes = self.elements(instruction, state)
        for element in reads - state.alive:
            self.refuse(address, f"reads element {element}, which nothing was written to")
        if instruction.routine not in self.code.anywhere:
            for element in writes & set(KEPT):
                self.refuse(address, f"writes to element {element}, which belongs to whoever gives the commands")
            if instruction.w is not None and instruction.w.pointer and writes & set(RESERVED):
                self.refuse(address, f"is to write to element {min(writes)}, which leaves use themselves")
        if instruction.w is not None and not instruction.w.pointer and state.pointers is not None:
            for element in writes & set(RESERVED) & set(state.pointers[:2]) - {Element.SYSTEM}:
                self.refuse(address, f"overwrites element {element}, which it is called to read")
        if not state.flag_off and not state.swaps:
            for element in (reads | writes) & set(range(SWAPPED)):
                self.refuse(address, f"uses element {element} while the flag may be set, and does not mean to swap")
        state = replace(state, alive=state.alive | writes)
        return state if instruction.kind == Kind.X else self.publicity(address, instruction, state)

    def elements(self, instruction, state) -> tuple[frozenset, frozenset]:
        """What it reads and writes; nothing where the pointer is that of a command."""

        def names(operand, port):
            if operand is None or (operand.pointer and state.pointers is None):
                return set()
            first = state.pointers[port] if operand.pointer else operand.element
            if state.ring and not operand.pointer and first < RINGED:
                return set(range(first & ~3, (first | 3) + 1)) if port == 2 else {first}
            return {first, first + 1} if instruction.kind == Kind.SCAN and port == 2 else {first}

        a = instruction.a if instruction.kind == Kind.X or instruction.form in USES_A else None
        return frozenset(names(a, 0) | names(instruction.b, 1)), frozenset(names(instruction.w, 2))

    def publicity(self, address, instruction, state) -> State:
        """What of its outcome is public: made of constants and public limbs, or said to be by `reveal`."""

        def public(operand):
            if operand is None or operand.pointer:
                return operand is None
            system = operand.element == Element.SYSTEM and operand.limb in PUBLIC_LIMBS
            return system or operand.element >= 32 or operand.element == Element.ZERO

        a = instruction.a if instruction.form in USES_A else None
        made = public(a) and public(instruction.b) and instruction.form not in (Form.BYTE, Form.X_PLUS_B)
        total = made and (instruction.pre == Pre.ZERO or state.sum_public)
        shown = total or instruction.reveal is not None
        if (
            instruction.w is not None
            and instruction.w.element == Element.SYSTEM
            and public(instruction.w)
            and not shown
        ):
            self.refuse(address, "writes what may be secret to a public limb; say why with `reveal`, if it is not")
        state = replace(state, sum_public=total)
        if not instruction.flag:
            return state
        off = instruction.pre == Pre.ZERO and a is None and instruction.b is None and instruction.form == Form.B
        return replace(state, flag_off=off, flag_public=shown)
