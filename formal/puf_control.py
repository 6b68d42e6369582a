"""The control program of the PUF engine, run as what its words say: every command ends, whatever came before.

What decides where the program goes are counters (`n`, bits of a byte, steps of the comparator, tries) and, in NEXT, the
words of the search (192..255), which hang on nothing but how many NEXT there were. So with its streams served each
command is one way through the program, and `Control.command` walks it; who waits for a stream or for the rings stands
still on this way. `closure` gives all commands in all orders until nothing new is found.

That the gateware does with an instruction what is done here is proven in `formal/test_puf.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ringpair_hdl.puf.microcode import PAGE, Action, Address, Condition, Operand
from ringpair_hdl.puf.program import HIGH, LOW, TOP, ZERO
from ringpair_hdl.puf.quantizer import STEPS
from ringpair_protocol import puf

COUNTS = 192
STEPS_N = (Action.WIPE, Action.COLLECT, Action.STORE, Action.BIT, Action.NEXT_N)
TO_BYTE = (Action.TAKE_BIT, Action.DECIDE_HELPER, Action.BIT)
RESETS_N = (Action.COUNT, Action.PREPARE, Action.READY)
SERVED = (Condition.NO_COMMAND, Condition.MEASURING, Condition.NO_BYTE, Condition.NOT_TAKEN)


class Endless(AssertionError):
    """A command that does not end within the bound."""


@dataclass
class Control:
    """Registers that decide, and the words of the search.

    Attributes
    ----------
    entry
        What is read of a count or an entry; it may be anything.
    took, gave
        Bytes that came in and went out in the last command.
    """

    words: list[int]
    budget: int
    entry: Callable[[], int] = int
    n: int = 0
    bits: int = 0
    position: int = 0
    tries: int = 0
    p: int = 0
    borrow: bool = False
    data: int = 0
    took: int = 0
    gave: int = 0
    search: list[int] = field(default_factory=lambda: [0] * 64)

    def key(self) -> tuple[int, ...]:
        """What a later command hangs on; all other words of the search it writes before it reads them."""
        words = (self.search[place - COUNTS] for place in (ZERO, LOW, HIGH, TOP))
        return self.n, self.bits, self.tries, *(words if self.tries else ())

    def copy(self) -> "Control":
        return replace(self, search=[*self.search])

    def command(self, command: int, limit: int = 100_000) -> int:
        """Run one from where the engine rests; the cycles until it is done. Raises `Endless`."""
        return self._walk(self._rest(), -1, command, limit)

    def reset(self, limit: int = 1_000) -> int:
        """What follows a reset or `clear`, until the engine rests."""
        return self._walk(0, self._rest(), 0, limit)

    def _walk(self, pc: int, end: int, command: int, limit: int) -> int:
        page, cycles = command >> 2 << 7, 0
        self.took = self.gave = 0
        while cycles < limit:
            if pc == end:
                return cycles
            word, cycles = self.words[page + pc], cycles + 1
            if word >> 14 == 3:
                self._access(word)
                pc += 1
                continue
            number, condition, target = word >> 11, Condition(word >> 7 & 15), word & 127
            action = Action(number) if number > 2 else Action.NOP
            if action is Action.READY:
                self._do(action)
                return cycles
            cycles += action is Action.LEVEL  # the word behind it is no instruction
            pc = target if self._holds(condition, command) else pc + 1
            self._do(action)
            if pc >= PAGE:
                raise Endless(f"command {command} runs over the end of its page")
        raise Endless(f"command {command} does not end within {limit} cycles")

    def _rest(self) -> int:
        """Where it waits for a command: the first jump on NO_COMMAND."""
        for pc, word in enumerate(self.words[:PAGE]):
            if word >> 14 != 3 and Condition(word >> 7 & 15) is Condition.NO_COMMAND:
                return pc
        raise Endless("it never waits for a command")

    def _holds(self, condition: Condition, command: int) -> bool:
        if condition in SERVED:
            return False
        limit = self.tries in (0, self.budget) if command & 4 else self.tries >= puf.ENROLL_READS
        return {
            Condition.NEVER: False,
            Condition.ALWAYS: True,
            Condition.COMMAND_0: bool(command & 1),
            Condition.COMMAND_1: bool(command & 2),
            Condition.ALL: self.n >= COUNTS,
            Condition.IN_ROW: self.n % 16 != 0,
            Condition.NOT_LAST: self.n % 16 != 15,
            Condition.IN_BYTE: self.bits != 0,
            Condition.STEPS: self.position != STEPS,
            Condition.LIMIT: limit,
            Condition.BORROW: self.borrow,
            Condition.ZERO: self.p == 0,
        }[condition]

    def _word(self, place: int) -> int:
        return self.search[place - COUNTS] if place >= COUNTS else self.entry()

    def _do(self, action: Action) -> None:
        if action not in (Action.WIPE, Action.STORE, Action.COLLECT):
            self.data = self._word(self.n)
        if action in STEPS_N:
            if action is Action.WIPE and self.n >= COUNTS:
                self.search[self.n - COUNTS] = 0
            self.n = self.n + 1 & 255
        elif action in RESETS_N:
            self.n = 0
        elif action is Action.ROW or (action is Action.ADD and self.n % 16):
            self.n = self.n & 0xF0 | self.n + 1 & 15
        if action in TO_BYTE:
            self.bits = self.bits + 1 & 7
        if action is Action.COUNT:
            self.tries += 1
        elif action is Action.PREPARE:
            self.tries = 0
        elif action is Action.LEVEL:
            self.position = 0
        elif action is Action.STEP:
            self.position += 1
        elif action is Action.TAKE:
            self.took += 1
        elif action is Action.EMIT:
            self.gave += 1
        elif action is Action.FORGET:
            self.n = self.bits = self.tries = self.p = self.position = 0
            self.borrow = False

    def _access(self, word: int) -> None:
        operand, mode, load_p, write = Operand(word >> 7 & 7), Address(word >> 10 & 3), word >> 12 & 1, word >> 13 & 1
        place = {
            Address.WORD: 128 | word & 127,
            Address.N: self.n,
            Address.P: self.p & 255,
            Address.RANK: ~self.p & 255,
        }[mode]
        total = self.data + {
            Operand.INCREMENT: 1,
            Operand.DECREMENT: 0xFFFF,
            Operand.PLUS_P: self.p,
            Operand.MINUS_P: 0x10000 - self.p,
            Operand.FLIP: 1 << 15,
            Operand.RANKED: 1 << 8,
        }.get(operand, 0)
        result = self.n if operand is Operand.N else total
        if not write:
            self.data = self._word(place)
        elif place >= COUNTS:
            self.search[place - COUNTS] = result & 0xFFFF
        if load_p:
            self.p = total & 511
        self.borrow = bool(total >> 9 & 1)
