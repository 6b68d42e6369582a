"""HMAC-SHA-512 (RFC 2104) with a key of 64 bytes: half a block, the other half of which is zero."""

from .assembler import L, Operand, Program, small
from .constants import rom_words
from .elements import COUNT, Q
from .elements import Element as E
from .isa import Pre
from .sha512 import count_down

__all__ = ["hmac"]

Q_LIMB, COUNT_LIMB, MASK = L(E.SYSTEM, Q), L(E.SYSTEM, COUNT), L(E.R)
ROM = 32
"""Number of the first element of constants."""
BLANK = E.S
"""An element of zeros."""
KEY = E.CHALLENGE, E.SPARE
INNER_DIGEST = E.POINT, E.RESULT
INNER, OUTER = 0x36, 0x5C
"""What the bytes of the key are masked with."""


def constant(upper: int) -> Operand:
    """Any constant with this upper byte: `absorb` does not look at the lower one."""
    place = next(place for place, word in enumerate(rom_words()) if word >> 8 == upper)
    return L(ROM + place // 16, place % 16)


def hmac(p: Program):
    """Routines of the commands of the same names."""
    with p.routine("hmac_start", secret=True, resumed=True):
        for half in range(2):
            p.call("copy", KEY[half], 0, E.DIGEST + half)
        p.jump("hmac_again")
    with p.routine("hmac_again", secret=True, resumed=True):
        p.enter("inner_mask")
        p.enter("key_block")
        p.jump("end")
    with p.routine("key_block", secret=True):
        p.call("wipe_element", BLANK)
        p.enter("begin")
        for element in (*KEY, BLANK, BLANK):
            p.call("absorb_masked", element, element)
        p.ret()
    with p.routine("hmac_finish", secret=True, resumed=True):
        p.enter("digest")
        for half in range(2):
            p.call("copy", INNER_DIGEST[half], 0, E.DIGEST + half)
        p.enter("outer_mask")
        p.enter("key_block")
        for element in INNER_DIGEST:
            p.call("absorb_element", element, element)
        p.enter("digest")
        p.jump("end")

    for name, byte in (("inner_mask", INNER), ("outer_mask", OUTER)):
        with p.leaf(name):
            p.term(constant(byte), MASK, pre=Pre.ZERO)
            p.ret()
    with p.leaf("absorb_masked"):
        p.term(small(16), pre=Pre.ZERO)
        p.term(small(16), COUNT_LIMB, pre=Pre.HOLD)
        p.wait(2)
        p.label("next byte of key")
        count_down(p)
        p.if_flag("absorbed")
        p.enter("turn")
        p.xor(Q_LIMB)
        p.xor(MASK)
        p.from_x(None, Q_LIMB, pre=Pre.ZERO)
        p.enter("absorb")
        p.jump("next byte of key")
