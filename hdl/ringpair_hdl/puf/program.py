"""The program of the PUF engine.

Memory words: 0..191 counts or entries, 192 always 0, from 193 the stack (all ranks of the present pattern but the
highest, rising), 202..206 variables, 255 - r the number of the ring with rank r, 1..47.

The control ROM has no word to spare: the ends of both pages hold decision levels and layout entries, and what of page 0
does not fit before them lies in a gap between the levels.
"""

from ringpair_protocol import puf

from ringpair_hdl.puf.microcode import LAYOUT, PAGE, Action, Address, Condition, Operand, Program
from ringpair_hdl.puf.quantizer import LEVEL_PLACES, layout_words, level_words

__all__ = ["control_words"]

ZERO = 192
"""A word that is 0; bottom of the stack: an empty stack points here."""
LOW, HIGH, TWICE, TOP, LEAST = range(202, 207)
"""Rank to be added next; highest rank of the pattern; scratch; top of the stack; number of the least reliable ring."""


def control_words(quantizer: puf.Quantizer) -> list[int]:
    """Contents of the control ROM, 256 words: two pages of instructions, with decision levels and layout entries."""
    layout = layout_words(quantizer)
    pages = []
    for commands in (lambda p: measure_enroll_reconstruct(p, bool(layout)), bits_next_clear):
        program = Program()
        common(program)
        commands(program)
        words = program.page()
        pages += words + [0] * (PAGE - len(words))
    levels = zip(LEVEL_PLACES, level_words(quantizer), strict=True)
    for place, word in [(place, word) for place, word in levels if word] + list(layout.items()):
        if pages[place]:
            raise ValueError(f"word {place:#04x} of the control ROM is an instruction, and a level or layout entry")
        pages[place] = word
    return pages


def common(p: Program):
    """Head of both pages: the page changes when a new command comes, so all must lie at the same place."""
    p.label("reset")
    overwrite(p)
    p.do(Action.PREPARE, target="rest")
    p.label("ready")
    p.do(Action.READY)
    p.label("rest")
    p.jump(Condition.NO_COMMAND, "rest")  # nothing moves while nothing is to be done


def overwrite(p: Program):
    """Zeros to all words: 0..191, then while n is 192 or more, which ends with word 0 once more."""
    first, last = f"overwrite {len(p.words)}", f"overwrite the rest {len(p.words)}"
    p.label(first)
    p.do(Action.WIPE, Condition.ALL, last)
    p.do(target=first)
    p.label(last)
    p.do(Action.WIPE, Condition.ALL, last)


def measure_enroll_reconstruct(p: Program, has_layout: bool):
    """Page 0."""
    p.do(Action.PREPARE)
    p.jump(Condition.COMMAND_1, "quantize")

    # Place after place, four rings at a time; 16 rounds for enrollment.
    p.label("place")
    p.jump(Condition.ALL, "swept")
    p.do(Action.START)
    p.label("measuring")
    p.jump(Condition.MEASURING, "measuring")
    for channel in range(4):
        p.do(Action.FETCH)
        p.do(Action.COLLECT, target="place" if channel == 3 else None)
    p.label("swept")
    p.do(Action.COUNT, Condition.COMMAND_0, "more")
    p.label("measured")
    p.do(Action.PREPARE, target="ready")

    p.label("quantize")
    p.jump(Condition.COMMAND_0, "reconstruct")

    # Row after row the sum of its counts; ring after ring four decisions. The first is the bit, the others go out.
    p.label("enroll row")
    row_sum(p, "enroll", end="ready")
    p.label("enroll ring")
    if has_layout:
        p.do(Action.LEVEL, target=LAYOUT)
    for number in range(4):
        compare(p, f"enroll {number}")
        if number == 0:
            p.do(Action.DECIDE_BIT)
            continue
        p.do(Action.DECIDE_HELPER)
        p.jump(Condition.IN_BYTE, f"enrolled {number}")
        p.label(f"emit {number}")
        p.do(Action.EMIT, Condition.NOT_TAKEN, f"emit {number}")
        p.label(f"enrolled {number}")
    p.do(Action.STORE, Condition.NOT_LAST, "enroll ring")
    p.do(target="enroll row")

    # The same with three helper bits from outside and one decision.
    p.label("reconstruct")
    row_sum(p, "reconstruct", end="reconstructed")
    p.label("reconstruct ring")
    if has_layout:
        p.do(Action.LEVEL, target=LAYOUT)
    for number in range(3):
        p.jump(Condition.IN_BYTE, f"helper bit {number}")
        p.label(f"take {number}")
        p.do(Action.TAKE, Condition.NO_BYTE, f"take {number}")
        p.label(f"helper bit {number}")
        p.do(Action.TAKE_BIT)
    compare(p, "reconstruct")
    p.do(Action.STORE, Condition.NOT_LAST, "reconstruct ring")
    p.do(target="reconstruct")

    p.place(LEVEL_PLACES.start)
    p.label("more")
    p.jump(Condition.LIMIT, "measured")
    p.do(target="place")

    # The first pattern is empty.
    p.label("reconstructed")
    p.access(TOP, Operand.N, write=True)  # n = 192 = ZERO
    p.access(ZERO)
    p.access(HIGH, write=True)
    p.access(LOW, write=True)
    p.do(Action.PREPARE)
    p.do(Action.COUNT, target="ready")


def row_sum(p: Program, name: str, end: str):
    p.jump(Condition.ALL, end)
    p.do(Action.ROW)
    p.label(f"{name} sum")
    p.do(Action.ADD, Condition.IN_ROW, f"{name} sum")


def compare(p: Program, name: str):
    p.do(Action.LEVEL)
    p.label(f"{name} step")
    p.do(Action.STEP, Condition.STEPS, f"{name} step")


def bits_next_clear(p: Program):
    """Page 1."""
    p.jump(Condition.COMMAND_1, "clear")
    p.jump(Condition.COMMAND_0, "next")

    p.label("bits")
    p.jump(Condition.ALL, "ready")
    p.do(Action.BIT)
    p.jump(Condition.IN_BYTE, "bits")
    p.label("emit")
    p.do(Action.EMIT, Condition.NOT_TAKEN, "emit")
    p.do(target="bits")

    p.label("clear")
    p.jump(Condition.COMMAND_0, "ready")  # no command has this code
    p.do(Action.FORGET)
    overwrite(p)
    p.do(target="ready")

    p.label("next")
    p.jump(Condition.LIMIT, "refuse")
    p.do(Action.COUNT)
    next_pattern(p)
    p.label("refuse")
    p.do(Action.REFUSE, target="ready")


def invert(p: Program):
    """Invert the bit of the ring with rank p."""
    p.access(Address.RANK)
    p.access(ZERO, p=True)  # the number of the ring
    p.access(Address.P)
    p.access(Address.P, Operand.FLIP, write=True)


def next_pattern(p: Program):
    """The successor rule of `ringpair_protocol.puf.flip_patterns`; each change inverts a bit in the memory."""
    # Take the highest rank away, unless the pattern is empty …
    p.access(HIGH)
    p.access(ZERO, p=True)
    p.jump(Condition.ZERO, "new weight")
    invert(p)
    # … and the one before it, unless the stack is empty (pops a 0).
    p.access(TOP)
    p.access(ZERO, p=True)
    p.access(Address.P)
    p.access(LOW, p=True, write=True)
    p.jump(Condition.ZERO, "new weight")
    p.access(TOP)
    p.access(TOP, Operand.DECREMENT, write=True)
    invert(p)
    # Its sum is to be filled up with higher ranks: high += low, low += 1.
    p.access(LOW)
    p.access(HIGH, p=True)
    p.access(HIGH, Operand.PLUS_P, write=True)
    p.label("next low")
    p.access(LOW)
    p.access(LOW, Operand.INCREMENT, write=True)

    # While high > 2 low: push low, high -= low, low += 1.
    p.label("fill")
    p.access(LOW)
    p.access(LOW, p=True)
    p.access(TWICE, Operand.PLUS_P, write=True)
    p.access(HIGH)
    p.access(TWICE, p=True)
    p.access(ZERO, Operand.MINUS_P)
    p.jump(Condition.BORROW, "push")
    p.access(HIGH)
    p.access(ZERO, p=True)
    invert(p)
    p.do(target="ready")
    p.label("push")
    p.access(TOP)
    p.access(TOP, Operand.INCREMENT, p=True, write=True)
    p.access(LOW)
    p.access(Address.P, write=True)
    p.access(LOW)
    p.access(HIGH, p=True)
    p.access(HIGH, Operand.MINUS_P, write=True)
    invert(p)
    p.do(target="next low")

    # The next weight: high += 1, low = 0 + 1. It needs the ring with rank high, the least reliable without a rank.
    # Both branches take the same time.
    p.label("new weight")
    p.access(HIGH)
    p.access(HIGH, Operand.INCREMENT, write=True)
    p.access(LOW)
    p.access(LOW, Operand.INCREMENT, write=True)
    p.access(ZERO)
    p.access(Address.N, Operand.DECREMENT, p=True)  # p = 511, above all margins
    p.label("scan")
    p.access(Address.N, Operand.MINUS_P)
    p.jump(Condition.BORROW, "less")
    p.do()
    p.do(target="scanned")
    p.label("less")
    p.access(Address.N, p=True)
    p.access(LEAST, Operand.N, write=True)
    p.label("scanned")
    p.do(Action.NEXT_N)
    p.jump(Condition.ALL, "found")
    p.do(target="scan")
    p.label("found")
    p.access(LEAST)
    p.access(ZERO, p=True)
    p.access(Address.P)
    p.access(Address.P, Operand.RANKED, write=True)
    p.access(HIGH)
    p.access(LEAST, p=True)
    p.access(Address.RANK, write=True)
    p.do(target="fill")
