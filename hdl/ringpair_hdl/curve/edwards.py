"""Points of edwards25519: from and to bytes (RFC 8032, section 5.1), and sums of multiples of public points."""

from .assembler import PL, L, Program, small
from .constants import Rom
from .elements import Element as E
from .elements import Q
from .field import frozen, squarings
from .isa import Pre

__all__ = ["decode", "double_multiple", "edwards", "encode_multiple"]

Q_LIMB = L(E.SYSTEM, Q)
X, Y, Z, T = E.PX, E.PY, E.PZ, E.PT
T4, T5, T6, T7, T8 = range(E.T4, E.T4 + 5)
SCALAR_BITS = 253
FIRST, SECOND = E.S, E.CHALLENGE
"""Scalars of the sum of multiples; they are used up."""
BOTH_Z = E.SPARE


def edwards(p: Program):
    """Leaves and routines."""
    with p.leaf("set_sign"):  # w = b with the parity of a at the top
        p.product(PL(0), small(0x8000), Q_LIMB, pre=Pre.ZERO)
        p.wait(2)
        p.term(Q_LIMB, pre=Pre.ZERO)
        p.term(PL(15), PL(15), pre=Pre.HOLD)
        p.ret()
    with p.leaf("sign_differs"):  # the flag: the parity of a is not the top bit of b
        p.product(PL(0), small(0x8000), Q_LIMB, pre=Pre.ZERO)
        p.wait(2)
        for _ in range(2):
            p.sum(Q_LIMB, PL(15), pre=Pre.HOLD if _ else Pre.ZERO, flag=bool(_))
        p.wait(2)
        p.ret()
    encode_multiple(p)
    point_double(p)
    point_add(p)
    decode(p)
    double_multiple(p)


def encode_multiple(p: Program):
    """E11 = bytes of BITS·B, constant time: the ladder from u = 9, then v, then the map to the Edwards curve.

    v by Okeya and Sakurai, as in Costello and Smith, "Montgomery curves and their arithmetic", algorithm 5; then
    y = (u - 1)/(u + 1) and x = c·u/v with one inversion. BITS must not be 0 or -1 modulo L.
    """
    v1, v2, v3, v4, total, top, x, y = E.T0, E.T1, E.T2, E.T3, E.E10, E.E11, E.BITS, E.E11

    def mul(w, a, b):
        p.call("mul", w, a, b)

    with p.routine("multiple", secret=True):
        p.enter("base_ladder")
        mul(v1, E.X1, E.Z2)
        p.call("add", v2, E.X2, v1)
        p.call("sub", v3, E.X2, v1)
        p.call("mul", v3, v3, v3, square=True)
        mul(v3, v3, E.X3)
        p.call("wipe_element", E.BITS)
        p.enter("montgomery_a")
        mul(v1, E.BITS, E.Z2)
        p.call("add", v1, v1, v1)
        p.call("add", v2, v2, v1)
        mul(v4, E.X1, E.X2)
        p.call("add", v4, v4, E.Z2)
        mul(v2, v2, v4)
        mul(v1, v1, E.Z2)
        p.call("sub", v2, v2, v1)
        mul(v2, v2, E.Z3)
        p.call("sub", E.X1, v2, v3)  # v·Z2², but for a factor
        p.call("add", total, E.X2, E.Z2)
        p.call("sub", top, E.X2, E.Z2)
        mul(x, E.X2, E.Z2)
        mul(x, x, E.Z3)
        mul(x, x, Rom.RECOVER_X)
        mul(E.Z2, E.X1, total)
        p.enter("invert")
        mul(top, top, E.X1)
        mul(y, top, E.T1)
        mul(x, x, total)
        mul(x, x, E.T1)
        p.jump("encode")

    with p.routine("encode", secret=True):  # E11 = bytes of the point (BITS, E11)
        frozen(p, y, y)
        frozen(p, x, x)
        p.call("set_sign", y, x, y)
        p.ret()


def point_double(p: Program):
    """P = 2P; extended coordinates (Hisil, Wong, Carter, Dawson 2008)."""
    with p.routine("twice", secret=True):
        p.call("mul", T4, X, X, square=True)
        p.call("mul", T5, Y, Y, square=True)
        p.call("mul", T6, Z, Z, square=True)
        p.call("add", T6, T6, T6)
        p.call("add", T7, X, Y)
        p.call("mul", T7, T7, T7, square=True)
        p.call("add", T8, T4, T5)  # H
        p.call("sub", T7, T8, T7)  # E
        p.call("sub", T4, T4, T5)  # G
        p.call("add", T6, T6, T4)  # F
        p.label("products")
        p.call("mul", X, T7, T6)
        p.call("mul", Y, T4, T8)
        p.call("mul", T, T7, T8)
        p.call("mul", Z, T6, T4)
        p.ret()


def point_add(p: Program):
    """P += a point of which y - x, y + x, 2dxy stand in a table; or those times z, and z."""
    for name, table in (("base", Rom.BASE), ("negative", E.NEGATIVE), ("both", E.BOTH)):
        with p.routine(f"add_{name}", secret=True):
            if table == E.BOTH:
                p.call("mul", Z, Z, BOTH_Z)
            p.call("sub", T4, Y, X)
            p.call("add", T5, Y, X)
            p.call("mul", T4, T4, table)  # A
            p.call("mul", T5, T5, table + 1)  # B
            p.call("mul", T6, T, table + 2)  # C
            p.jump("added")
    with p.routine("added", secret=True):
        p.call("add", T8, T5, T4)  # H
        p.call("sub", T7, T5, T4)  # E
        p.call("add", T5, Z, Z)  # D
        p.call("add", T4, T5, T6)  # G
        p.call("sub", T6, T5, T6)  # F
        p.jump("products")


def neutral(p: Program):
    """P = the neutral point."""
    for element, value in ((X, E.ZERO), (Y, Rom.ONE), (Z, Rom.ONE), (T, E.ZERO)):
        p.call("copy", element, 0, value)


def table(p: Program, first: int):
    """y - x, y + x, 2dxy of the point P, times its z."""
    p.call("sub", first, Y, X)
    p.call("add", first + 1, Y, X)
    p.call("mul", first + 2, T, Rom.D)
    p.call("add", first + 2, first + 2, first + 2)


def decode(p: Program):
    """P = -PUBLIC and its table, or the status is REFUSED: y not below p, no such point, or one of small order."""
    u, v, y = T4, E.PT, E.NEGATIVE
    with p.routine("decode", secret=False):
        p.call("copy", y, 0, E.PUBLIC)
        p.call("without_top_bit", y, y)
        frozen(p, E.E10, y)
        p.call("differ", 0, E.E10, y)
        p.if_flag("invalid")
        p.call("copy", Y, 0, y)
        p.call("mul", u, Y, Y, square=True)
        p.call("mul", v, u, Rom.D)
        p.call("add", v, v, Rom.ONE)
        p.call("sub", u, u, Rom.ONE)
        p.call("mul", E.E10, v, v, square=True)
        p.call("mul", E.E11, E.E10, v)
        p.call("mul", E.E11, E.E11, u)  # u·v³
        p.call("mul", E.E10, E.E10, E.E10, square=True)
        p.call("mul", E.Z2, E.E11, E.E10)  # u·v⁷
        p.enter("power")
        squarings(p, E.T1, E.T1, 2)
        p.call("mul", E.T1, E.T1, E.Z2)  # to the (p - 5)/8
        p.call("mul", X, E.T1, E.E11)
        p.call("mul", E.E10, X, X, square=True)
        p.call("mul", E.E10, E.E10, v)
        frozen(p, E.E10, E.E10)
        frozen(p, E.E11, u)
        p.call("differ", 0, E.E10, E.E11)
        p.if_flag("not the root")
        p.jump("root")
        p.label("not the root")
        p.enter("flag_off")
        p.call("sub", E.E11, E.ZERO, u)
        frozen(p, E.E11, E.E11)
        p.call("differ", 0, E.E10, E.E11)
        p.if_flag("invalid")
        p.call("mul", X, X, Rom.SQRT_M1)
        p.label("root")
        frozen(p, X, X)
        p.call("sign_differs", 0, X, E.PUBLIC)
        p.if_flag("negative")
        p.call("sub", X, E.ZERO, X)
        p.label("negative")
        p.enter("flag_off")
        p.call("copy", Z, 0, Rom.ONE)
        p.call("mul", T, X, Y)
        table(p, E.NEGATIVE)
        for _ in range(3):
            p.enter("twice")
        frozen(p, X, X)
        p.call("differ", 0, X, E.ZERO)
        p.if_flag("valid")
        p.jump("invalid")
        p.label("valid")
        p.enter("flag_off")
        p.ret()


def double_multiple(p: Program):
    """BITS, E11 = x, y of FIRST·B + SECOND·(-PUBLIC), with the table of ``decode``; both below 2^253 (Straus)."""
    with p.routine("double_multiple", secret=False):
        neutral(p)
        p.enter("add_negative")
        p.enter("add_base")
        table(p, E.BOTH)
        p.call("copy", BOTH_Z, 0, Z)
        neutral(p)
        with p.times(256 - SCALAR_BITS):
            p.call("double", FIRST, FIRST, FIRST)
            p.call("double", SECOND, SECOND, SECOND)
        p.enter("flag_off")
        with p.times(SCALAR_BITS):
            p.enter("twice")
            p.call("double", FIRST, FIRST, FIRST)
            p.if_flag("first")
            p.call("double", SECOND, SECOND, SECOND)
            p.if_flag("second alone")
            p.jump("next bit")
            p.label("second alone")
            p.enter("flag_off")
            p.enter("add_negative")
            p.jump("next bit")
            p.label("first")
            p.call("double", SECOND, SECOND, SECOND)
            p.if_flag("first and second")
            p.enter("add_base")
            p.jump("next bit")
            p.label("first and second")
            p.enter("flag_off")
            p.enter("add_both")
            p.label("next bit")
        p.enter("invert")
        p.call("mul", E.BITS, X, E.T1)
        p.call("mul", E.E11, Y, E.T1)
        p.ret()
