"""Elligator 2 for Curve25519 (RFC 9380, section 6.7.1, with Z = 2), only x: what CPace makes its generator with."""

from .assembler import L, Program, small
from .constants import A24, Rom
from .elements import Element as E
from .field import frozen, squarings
from .isa import Pre

__all__ = ["elligator"]


def elligator(p: Program):
    with p.leaf("montgomery_a"):  # BITS = 486662 = 8·60833 - 2; BITS was 0
        p.zero()
        p.term(small(A24), pre=Pre.HOLD, repeat=4)
        p.term(small(A24), pre=Pre.HOLD, repeat=4)
        p.term(small(2), L(E.BITS), sub=True, pre=Pre.HOLD)
        p.carry(L(E.BITS, 1))
        p.ret()
    with p.leaf("is_not_square"):  # the flag: RESULT, a power that is 0 or 1 or -1, is -1
        p.term_19(L(E.RESULT, 15), pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.ret()

    one, other, u, a = E.X2, E.X3, E.X1, E.BITS
    with p.routine("elligator", secret=True):
        p.enter("map")
        p.jump("end")
    with p.routine("map", secret=True):
        p.call("copy", u, 0, E.POINT)
        p.call("without_top_bit", u, u)
        p.call("wipe_element", a)
        p.enter("montgomery_a")
        p.call("mul", u, u, u, square=True)
        p.call("add", u, u, u)
        p.call("add", E.Z2, u, Rom.ONE)  # never 0: -1/2 is no square
        p.enter("invert")
        p.call("mul", one, E.T1, a)
        p.call("sub", one, E.ZERO, one)  # x1 = -A / (1 + 2u²)
        p.call("add", u, one, a)
        p.call("sub", other, E.ZERO, u)  # x2 = -x1 - A
        p.call("mul", u, u, one)
        p.call("add", u, u, Rom.ONE)
        p.call("mul", E.Z2, u, one)  # x1³ + A·x1² + x1
        p.enter("power")
        p.call("mul", u, E.Z2, E.Z2, square=True)
        p.call("mul", E.Z3, u, u, square=True)
        p.call("mul", u, u, E.Z3)  # to the 6th
        squarings(p, E.T1, E.T1, 4)
        p.call("mul", E.RESULT, E.T1, u)  # to the (p - 1)/2
        frozen(p, E.RESULT, E.RESULT)
        p.enter("is_not_square")
        p.call("copy", u, 0, one, swaps=True)  # or the other
        p.enter("flag_off")
        frozen(p, E.RESULT, u)
        p.ret()
