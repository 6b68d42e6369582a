"""Micro-instructions of the curve engine: 40 bits, one a clock, three pipeline stages that the program sees.

::

    39  36 35  32 | 31  28 27  25 24  22 21 20 19  18 | 17 16 | 15   11 10    5 4     0
    b_limb a_limb | w_limb repeat  form sub flag pre  | kind  |    w       b      a

    kind CONTROL    op 4, target 10 in place of bits 31..18                 words 0..1023
    kind ACC        accumulator = pre(accumulator) + (addend ± factor·B), its low limb to W       words 0..511
    kind SCAN       the same, for all 256 products of a multiplication (136 of a squaring)
    kind X          w is a `Unit`, w_limb the distance of a shift

The upper 8 bits exist for the first 512 words only: there stands what computes. Control words ignore them, so the rest
of the program costs 32 bits a word.

Pipeline: S0, the instruction is there; the operand memories get their addresses, the next instruction is chosen. S1,
operands A and B are there; the multiplier computes addend ± factor·B; X changes. S2, the accumulator and the
memory are written, the flag is set. So a word written by instruction t may be read by instruction t + 3, the flag
counts from t + 3, X for LOAD_X from t + 2. Nothing waits in hardware: the assembler refuses what comes too early.

Memory: 32 elements of 16 limbs of 16 bits, elements 32..63 are constants and only port B reads them. A computing word
names elements 0..19 and 28..31; the other numbers mean NOWHERE or POINTER. The accumulator has 37 bits, two's
complement; a product that is subtracted must be below 2^31.
"""

from enum import IntEnum

from amaranth.lib import data

__all__ = ["Control", "Form", "Kind", "Op", "Pre", "Unit", "Word"]

WIDE_WORDS = 512
WORDS = 1024
NARROW_BITS = 32
ACCUMULATOR = 37
STACK = 4
"""Levels of the return stack."""

DISPATCH = WORDS - 40
"""A command with the upper three bits u goes on at DISPATCH + u; one with u = 0 at DISPATCH + 8 + its lower bits."""
BOOT, WIPE = 0, 1
"""Where the program begins after reset, and after `clear`."""


class Kind(IntEnum):
    """What a word is."""

    CONTROL = 0
    ACC = 1
    X = 2
    SCAN = 3


class Op(IntEnum):
    """Of a control word. Pointers are fields a, b, w; they hold until the next POINT or command."""

    IDLE = 0  # wait for a command, point at its element
    RETURN = 1
    LOAD = 2  # counter = a | b << 4, ring mode = w
    LOAD_X = 3  # counter = X, ring mode on
    DONE = 4  # the command is taken
    JUMP = 8
    COUNT = 9  # jump while the counter is not 0; it is decremented either way
    IF_FLAG = 10
    IF_LOW = 11  # jump if the counter is below 16
    CALL = 12  # the pointers stay
    POINT = 14  # call, and set the pointers
    SQUARE = 15  # the same; SCAN means squaring until the next call


class Form(IntEnum):
    """Addend and factor."""

    B = 0
    A_PLUS_B = 1
    X_PLUS_B = 2  # and X = 0
    A_TIMES_B = 3
    B_TIMES_19 = 4
    B_TIMES_38 = 5
    A_PLUS_B_TIMES_38 = 6
    BYTE = 7  # 256·B times a byte from `i`, which is awaited


class Pre(IntEnum):
    """What it is added to besides: in a repetition SHIFT means the accumulator at first, then its upper part."""

    ZERO = 0
    HOLD = 1
    SHIFT = 2  # the accumulator without its lowest 16 bits


class Unit(IntEnum):
    """Of a word of kind X, in field w."""

    XOR = 1  # X = X ^ ({A, B} >> shift)
    SELECT = 2  # X = A where X is 1, B where it is 0
    EMIT = 4  # the low byte of A goes out on `o`, once it is accepted


NOWHERE, POINTER = 20, 24
"""As w: nothing is written (20..23). As a, b, w: the element that the port's pointer names (24..27)."""
SCALARS = 56
"""Constants from here on, named in a word, stay at their limb in a repetition."""
REPEATS = (1, 2, 3, 4, 13, 14, 15, 16)
"""Steps of a repetition: bits 3 and 2 of the number of the last are the same."""

Control = data.StructLayout({"target": 10, "op": 4})
Compute = data.StructLayout({"pre": 2, "flag": 1, "sub": 1, "form": 3, "repeat": 3, "w_limb": 4})
More = data.UnionLayout({"control": Control, "compute": Compute})
Word = data.StructLayout({"a": 5, "b": 6, "w": 5, "kind": 2, "more": More, "a_limb": 4, "b_limb": 4})
