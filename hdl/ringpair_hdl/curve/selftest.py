"""The known-answer test of power-up."""

from .assembler import L, Program, V, small
from .constants import KNOWN_ANSWER
from .elements import BROKEN, Q1, Q
from .elements import Element as E
from .isa import Pre
from .scalar import LOW

__all__ = ["self_test"]


def self_test(p: Program):
    """Elligator 2 of SHA-512 of nothing, modulo L: it meets all of the multiplier, the adder, X and the swap."""
    q, q1 = L(E.SYSTEM, Q), L(E.SYSTEM, Q1)
    with p.routine("boot", secret=True):
        p.enter("overwrite")
        p.enter("begin")
        p.enter("digest")
        p.enter("reduce_digest")
        p.call("copy", E.POINT, 0, LOW)
        p.enter("map")
        p.enter("known_answer")
        p.jump("wipe")
    with p.leaf("known_answer"):  # BROKEN = 128 unless the limbs of RESULT have the right sum
        p.zero()
        p.sum(V(E.RESULT), None, pre=Pre.HOLD, repeat=16)
        p.term(small(KNOWN_ANSWER), q, sub=True, pre=Pre.HOLD)
        p.wait(2)
        p.sum(q, small(0xFFFF), pre=Pre.ZERO)
        p.carry(q1)  # 1 if q is not 0
        p.wait(2)
        p.product(q1, small(8), q, pre=Pre.ZERO)
        p.wait(2)
        p.product(q, small(16), L(E.SYSTEM, BROKEN), pre=Pre.ZERO, reveal="an outcome")
        p.ret()
