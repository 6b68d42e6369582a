"""Which word of a program may follow which."""

from collections.abc import Iterator

from . import isa
from .isa import Form, Op

__all__ = ["CALLS", "USES_A", "Flow", "Refused", "check_stack", "where"]

CALLS = (Op.CALL, Op.POINT, Op.SQUARE)
BRANCHES = (Op.COUNT, Op.IF_FLAG, Op.IF_LOW)
USES_A = (Form.A_PLUS_B, Form.A_TIMES_B, Form.A_PLUS_B_TIMES_38)


class Refused(ValueError):
    """The program breaks a rule of the machine."""


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


def check_stack(code):
    """Calls within calls are as many as the return stack has levels, and nothing calls itself."""
    flow = Flow(code)
    depths: dict[int, int | None] = {}

    def depth(entry: int) -> int:
        if entry not in depths:
            depths[entry] = None
            calls = (code.listing[address] for address in flow.reached(entry))
            inner = [depth(code.labels[call.target]) for call in calls if call.op in CALLS]
            depths[entry] = 1 + max(inner) if inner else 0
        if depths[entry] is None:
            raise Refused(f"{where(code, entry)}: calls itself")
        return depths[entry]

    for name in ("boot", "wipe", *(code.listing[place].target for place in range(isa.DISPATCH, isa.WORDS))):
        needed = depth(code.labels[name])
        if needed > isa.STACK:
            raise Refused(f"{name!r} needs a return stack of {needed} levels, there are {isa.STACK}")
