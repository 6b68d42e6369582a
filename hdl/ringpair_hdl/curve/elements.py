"""Where values lie: elements of the memory, and the words of the last two that are not values.

Elements 0..11 are what the routines work in, 12..19 their operands and results, 20..27 belong to whoever gives the
commands: no routine writes there. See `commands.py` for which routine takes what.
"""

from enum import IntEnum

__all__ = ["KEPT", "RESERVED", "SWAPPED", "WORKING", "Element"]


class Element(IntEnum):
    """Names of elements. Several names of one element: of different routines."""

    # Montgomery ladder. The first four change places in pairs while the flag is set.
    X2 = 0
    X3 = 1
    Z2 = 2
    Z3 = 3
    X1 = 4
    T0 = 5
    T1 = 6
    T2 = 7
    T3 = 8
    BITS = 9
    E10 = 10
    E11 = 11

    # Edwards points: X, Y, Z, T, and the tables of a verification.
    PX = 0
    PY = 1
    PZ = 2
    PT = 3
    T4 = 4
    NEGATIVE = 9  # -A: y - x, y + x, 2dxy
    BOTH = 12  # B - A

    # SHA-512: schedule, state, chaining value; the digest as two little-endian numbers.
    SCHEDULE = 0
    STATE = 4
    CHAIN = 8
    DIGEST = 10

    # Operands and results.
    SCALAR = 12
    POINT = 13
    RESULT = 14
    SEED = 12
    PREFIX = 13
    NONCE = 14
    PUBLIC = 15
    R = 16
    S = 17
    CHALLENGE = 18
    SPARE = 19

    # What the leaves of the program use themselves.
    PRODUCT = 28
    PRODUCT_HIGH = 29
    SYSTEM = 30
    ZERO = 31


WORKING = range(12)
KEPT = range(20, 28)
RESERVED = range(28, 32)
SWAPPED = 4
"""Elements below this one change places in pairs while the flag is set: 0 and 1, 2 and 3."""

Q, Q1, LENGTH, COUNT, STATUS = range(5)
BROKEN = 15
"""Limbs of SYSTEM: scratch; 65535 - length of the message; bytes left to absorb; status; whether a known-answer test
failed, which is not wiped."""
PUBLIC_LIMBS = (LENGTH, COUNT, STATUS, BROKEN)
"""Those that never depend on a secret."""
