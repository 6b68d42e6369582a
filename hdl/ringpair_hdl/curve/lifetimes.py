"""Every command, run with sets in place of values: which elements hold something, whether the flag is 0, or public."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from . import isa
from .elements import KEPT, PUBLIC_LIMBS, RESERVED, SWAPPED, WORKING, Element
from .flow import CALLS, USES_A, Flow, Refused, where
from .isa import Form, Kind, Op, Pre

__all__ = ["Lifetimes"]

RINGED = 16
"""Elements below this one are turned in ring mode."""


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
