"""Instructions of the PUF engine, and the assembler that makes its control ROM.

An instruction has 16 bits and takes one cycle. The ROM has two pages of 128; the page is bit 2 of the command.

::

    15 14 13 12 11 | 10  9  8  7 | 6 5 4 3 2 1 0
        action     |  condition  |    target        do the action; if the condition holds, go on at the target
     1  1  w  p  a    a  o  o  o |    word          memory access
     0  0  0 |          level                       decision level of the quantizer: no instruction, see `Action.LEVEL`
     0 |  entry   |   entry   |   entry             layout entries of the rings n + 128, n + 64 and n: the same
"""

from amaranth.lib import data, enum

__all__ = ["LAYOUT", "PAGE", "Access", "Action", "Address", "Condition", "Jump", "Operand", "Program"]

PAGE = 128
LAYOUT = 1
"""Target of a LEVEL that asks for a layout entry."""


class Action(enum.Enum, shape=5):
    """What an instruction does. Without other access the memory reads word n: its data come in the next cycle.

    The word that follows a LEVEL is the decision level, or the layout entries, that it asks for. The upper bits of a
    level are 0, those of layout entries are taken as 0. That looks like NOP, its other codes, or FETCH: none of these
    changes anything.
    """

    NOP = 0  # 1 and 2 as well
    FETCH = 3  # read the word of the ring at the place
    LEVEL = 4  # in the next cycle, the comparator takes a decision level; with target LAYOUT, the ring's layout entry
    STEP = 5  # comparator: one step
    ROW = 6  # clear the sum of the row; n + 1
    ADD = 7  # add a count to it; n + 1 within the row, while not at its beginning
    DECIDE_BIT = 8  # shift the decision into the node
    DECIDE_HELPER = 9  # … and into the byte
    WIPE = 10  # write 0; n + 1
    COLLECT = 11  # add the count of the channel to the word of its ring (the first time: write); n + 1
    STORE = 12  # write bit and margin; n + 1; the next node
    BIT = 13  # shift the bit of the word into the byte; n + 1
    NEXT_N = 14  # n + 1
    START = 15  # start a measurement
    TAKE = 16  # take a byte from `i`, if there is one
    TAKE_BIT = 17  # shift a bit of the byte into the node
    EMIT = 18  # offer the byte on `o`
    COUNT = 19  # count + 1, n = 0
    PREPARE = 20  # count, n = 0 and flags
    REFUSE = 21  # exhausted
    FORGET = 22  # reset all registers
    READY = 23  # the command is done


class Condition(enum.Enum, shape=4):
    """When to go on at the target."""

    NEVER = 0
    ALWAYS = 1
    NO_COMMAND = 2  # no command waits
    COMMAND_0 = 3  # bit 0 of the command
    COMMAND_1 = 4  # bit 1 of the command
    MEASURING = 5  # the measurement is not done
    NO_BYTE = 6  # `i` is not valid
    NOT_TAKEN = 7  # `o` is not ready
    ALL = 8  # n = 192 or more
    IN_ROW = 9  # n is not the first of a row
    NOT_LAST = 10  # n is not the last of a row
    IN_BYTE = 11  # bits of the byte are left, or in it
    STEPS = 12  # steps of the comparator are left
    LIMIT = 13  # MEASURE: 16 reads; NEXT: no candidate, or the budget is used up
    BORROW = 14  # the last memory access computed a negative number
    ZERO = 15  # p = 0


class Address(enum.Enum, shape=2):
    """Which word a memory access reads or writes."""

    WORD = 0  # 128 + word
    N = 1
    P = 2
    RANK = 3  # 255 - p


class Operand(enum.Enum, shape=3):
    """What a memory access adds to the data of the access before."""

    NONE = 0
    INCREMENT = 1
    DECREMENT = 2
    PLUS_P = 3
    MINUS_P = 4
    N = 5  # not added: n alone
    FLIP = 6  # inverts the bit of an entry
    RANKED = 7  # marks an entry: it has a rank


class Jump(data.Struct):
    """An instruction with an action."""

    target: 7
    condition: Condition
    action: Action


class Access(data.Struct):
    """A memory access: the sum of data and operand goes to p, to the word, or nowhere.

    Reading or writing: after a write the data are those of the access before it.
    """

    word: 7
    operand: Operand
    address: Address
    load_p: 1
    write: 1
    ones: 2


class Program:
    """Assembler. Labels are names; a jump may come before its label."""

    def __init__(self):
        self.words: list[dict | int] = []
        self.labels: dict[str, int] = {}

    def label(self, name: str):
        if name in self.labels:
            raise ValueError(f"label {name!r} is there already")
        self.labels[name] = len(self.words)

    def place(self, word: int):
        """Go on at this word of the page."""
        if word < len(self.words):
            raise ValueError(f"cannot go on at word {word}: {len(self.words)} are there already")
        self.words += [0] * (word - len(self.words))

    def do(self, action: Action = Action.NOP, condition: Condition = Condition.NEVER, target: str | int | None = None):
        """An action and a jump; with a label and no condition: always. A number is no label, only written there."""
        if isinstance(target, str) and condition == Condition.NEVER:
            condition = Condition.ALWAYS
        self.words.append({"action": action, "condition": condition, "target": target})

    def jump(self, condition: Condition, target: str):
        self.do(Action.NOP, condition, target)

    def access(self, address: Address | int, operand: Operand = Operand.NONE, *, write=False, p=False):
        """A memory access; `address` is a mode or a word 128..255."""
        word = 0
        if not isinstance(address, Address):
            if not 128 <= address <= 255:
                raise ValueError(f"a memory access reaches words 128..255, not {address}")
            address, word = Address.WORD, address - 128
        fields = {"word": word, "operand": operand, "address": address, "load_p": p, "write": write, "ones": 3}
        self.words.append(Access.const(fields).as_value().value)

    def page(self) -> list[int]:
        """The instructions; ValueError if they do not fit, or a label is missing."""
        if len(self.words) > PAGE:
            raise ValueError(f"a page has {PAGE} instructions, not {len(self.words)}")
        return [word if isinstance(word, int) else self._jump(**word) for word in self.words]

    def _jump(self, action, condition, target):
        if isinstance(target, str) and target not in self.labels:
            raise ValueError(f"there is no label {target!r}")
        where = self.labels[target] if isinstance(target, str) else target or 0
        return Jump.const({"action": action, "condition": condition, "target": where}).as_value().value
