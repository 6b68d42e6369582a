"""Arithmetic modulo p = 2^255 - 19.

Values are below 2^256, any representative; `freeze` gives the canonical one. Multiples of p are taken away by an
estimate q of the quotient from the highest limbs: nothing has to be compared, and no duration depends on a value.
"""

from .assembler import PL, PV, L, Program, V, small
from .constants import A24, BASE_U
from .elements import Element as E
from .elements import Q
from .isa import Pre

__all__ = ["field_leaves", "frozen", "inversion", "squarings"]

SCRATCH = L(E.SYSTEM, Q)
TOP = 15


def field_leaves(p: Program):
    """w = a·b, a + b, a - b, 60833·a + b, 9·a + b, a mod p."""
    multiply(p)
    add(p)
    subtract(p)
    multiply_small_add(p, "mul_a24_add", A24)
    multiply_small_add(p, "mul_9_add", BASE_U)
    freeze(p)


def take_quotient(p: Program):
    """q = what stands above the lowest 16 bits: twice the top limb, so bit 255 and all above."""
    p.carry(SCRATCH)
    p.wait(2)
    p.term_19(SCRATCH, pre=Pre.ZERO)  # 2^255 = 19 mod p


def take_away(p: Program):
    """The top limb without what went into q."""
    p.product(SCRATCH, small(0x8000), PL(TOP), sub=True, pre=Pre.HOLD)
    p.ret()


def multiply(p: Program):
    """All columns of the product, then 2^256 = 38."""
    low, high = L(E.PRODUCT, TOP), L(E.PRODUCT_HIGH, TOP)
    with p.leaf("mul"):
        p.zero()
        p.product(PV(), PV(), V(E.PRODUCT), scan=True)
        p.carry(high)
        p.wait(2)
        for pre in (Pre.ZERO, Pre.HOLD):
            p.sum_38(low, high, pre=pre)
        take_quotient(p)
        p.sum_38(V(E.PRODUCT), V(E.PRODUCT_HIGH), PV(), repeat=TOP)
        p.sum_38(low, high)
        take_away(p)


def add(p: Program):
    with p.leaf("add"):
        for pre in (Pre.ZERO, Pre.HOLD):
            p.sum(PL(TOP), PL(TOP), pre=pre)
        take_quotient(p)
        p.sum(PV(), PV(), PV(), repeat=TOP)
        p.sum(PL(TOP), PL(TOP))
        take_away(p)


def subtract(p: Program):
    """One to three multiples of p are added: as many as 2·b15 - 2·a15 asks for, rounded up."""
    with p.leaf("sub"):
        p.term(small(0xFFFF), pre=Pre.ZERO)
        p.term(small(0xFFFF), pre=Pre.HOLD)
        p.term(PL(TOP), pre=Pre.HOLD)
        p.term(PL(TOP), pre=Pre.HOLD)
        p.product(PL(TOP), small(2), sub=True, pre=Pre.HOLD)
        p.carry(SCRATCH)
        p.wait(2)
        p.term_19(SCRATCH, sub=True, pre=Pre.ZERO)
        p.sum(PV(), PV(), PV(), sub=True, repeat=TOP)
        p.sum(PL(TOP), PL(TOP), sub=True)
        p.product(SCRATCH, small(0x8000), PL(TOP), pre=Pre.HOLD)
        p.ret()


def multiply_small_add(p: Program, name: str, factor: int):
    with p.leaf(name):
        p.zero()
        p.product(PV(), small(factor), V(E.PRODUCT), repeat=16)
        p.carry(L(E.PRODUCT_HIGH))
        p.wait(1)
        for pre in (Pre.ZERO, Pre.HOLD):
            p.sum(L(E.PRODUCT, TOP), PL(TOP), pre=pre)
        take_quotient(p)
        p.term_38(L(E.PRODUCT_HIGH), pre=Pre.HOLD)
        p.sum(V(E.PRODUCT), PV(), PV(), repeat=TOP)
        p.sum(L(E.PRODUCT, TOP), PL(TOP))
        take_away(p)


def freeze(p: Program):
    """a + 19 has bit 255 if a is p or more; a must be below 2^255."""
    with p.leaf("freeze"):
        p.term_19(small(1), pre=Pre.ZERO)
        p.sum(PV(), None, V(E.PRODUCT), repeat=16)
        p.wait(2)
        p.sum(L(E.PRODUCT, TOP), L(E.PRODUCT, TOP), pre=Pre.ZERO)
        take_quotient(p)
        p.sum(PV(), None, PV(), repeat=TOP)
        p.sum(PL(TOP))
        take_away(p)


def frozen(p: Program, w: int, a: int):
    """w = a mod p for any a: two additions of zero bring it below 2^255."""
    p.call("add", w, a, E.ZERO)
    p.call("add", w, w, E.ZERO)
    p.call("freeze", w, w)


def squarings(p: Program, w: int, a: int, count: int):
    """w = a^(2^count)"""
    p.call("mul", w, a, a, square=True)
    if count > 1:
        with p.times(count - 1):
            p.call("mul", w, w, w, square=True)


def inversion(p: Program):
    """T1 = Z2^(p - 2), and the power that square roots begin with. 254 squarings and 11 products, always."""
    t0, t1, t2, t3 = E.T0, E.T1, E.T2, E.T3
    with p.routine("invert", secret=True):
        p.enter("power")
        squarings(p, t1, t1, 5)
        p.call("mul", t1, t1, t0)
        p.ret()

    with p.routine("power", secret=True):  # T1 = Z2^(2^250 - 1), T0 = Z2^11
        squarings(p, t0, E.Z2, 1)
        squarings(p, t1, t0, 2)
        p.call("mul", t1, E.Z2, t1)  # 9
        p.call("mul", t0, t0, t1)  # 11
        squarings(p, t2, t0, 1)
        p.call("mul", t1, t1, t2)  # 2^5 - 1
        squarings(p, t2, t1, 5)
        p.call("mul", t1, t2, t1)  # 2^10 - 1
        squarings(p, t2, t1, 10)
        p.call("mul", t2, t2, t1)  # 2^20 - 1
        squarings(p, t3, t2, 20)
        p.call("mul", t2, t3, t2)  # 2^40 - 1
        squarings(p, t2, t2, 10)
        p.call("mul", t1, t2, t1)  # 2^50 - 1
        squarings(p, t2, t1, 50)
        p.call("mul", t2, t2, t1)  # 2^100 - 1
        squarings(p, t3, t2, 100)
        p.call("mul", t2, t3, t2)  # 2^200 - 1
        squarings(p, t2, t2, 50)
        p.call("mul", t1, t2, t1)  # 2^250 - 1
        p.ret()
