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

    one, other, u, a, w, y = E.X2, E.X3, E.X1, E.BITS, E.Z3, E.Z2
    power, fourth, square = E.T1, E.T2, E.T3
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
        p.call("add", w, u, Rom.ONE)  # 1 + 2u²; never 0: -1/2 is no square
        p.call("mul", other, a, a, square=True)
        p.call("mul", other, other, u)
        p.call("mul", y, w, w, square=True)
        p.call("sub", other, y, other)  # w² - 2A²u²; never 0: A² - 4 is no square
        p.call("mul", other, other, a)
        p.call("mul", other, other, y)
        p.call("mul", y, other, w)
        p.enter("power")
        squarings(p, power, power, 2)
        p.call("mul", power, power, y)  # y to the (p - 5)/8
        p.call("mul", power, power, power, square=True)
        p.call("mul", fourth, power, y)  # y to the (p - 1)/4, a root of 1
        p.call("mul", square, fourth, fourth, square=True)
        p.call("mul", fourth, fourth, square)  # the inverse of that
        p.call("mul", power, power, fourth)  # 1/y
        p.call("mul", power, power, other)  # 1/w
        p.call("mul", one, power, a)
        p.call("sub", one, E.ZERO, one)  # x1 = -A / w
        p.call("add", u, one, a)
        p.call("sub", other, E.ZERO, u)  # x2 = -x1 - A
        frozen(p, E.RESULT, square)
        p.enter("is_not_square")
        p.call("copy", u, 0, one, swaps=True)  # or the other
        p.enter("flag_off")
        frozen(p, E.RESULT, u)
        p.ret()
