"""X25519 (RFC 7748) and what else the Montgomery ladder is used for.

The scalar's bits are not branched on: each goes to the flag, and while it is set elements 0 and 1, 2 and 3 change
places in all addresses. That is the constant-time swap of the RFC, at no cost.
"""

from .assembler import L, Program, small
from .constants import Rom
from .elements import Element as E
from .field import frozen
from .isa import Pre

__all__ = ["ladder"]

BITS = 255


def ladder(p: Program):
    with p.leaf("clamp"):  # decodeScalar25519, but for the top bit, which the ladder does not look at
        p.xor(small(0xFFF8))
        p.select(L(E.BITS, 0), L(E.ZERO))
        p.from_x(None, L(E.BITS, 0), pre=Pre.ZERO)
        p.xor(small(0x3FFF))
        p.select(L(E.BITS, 15), small(0x4000))
        p.from_x(None, L(E.BITS, 15), pre=Pre.ZERO)
        p.ret()
    with p.leaf("nine"):  # X1 = 9; it was 0
        p.term(small(9), L(E.X1), pre=Pre.ZERO)
        p.ret()

    with p.routine("x25519_base", secret=True):
        p.call("copy", E.BITS, 0, E.SCALAR)
        p.enter("clamp")
        p.enter("base_ladder")
        p.jump("x25519 result")
    with p.routine("x25519", secret=True):
        p.call("copy", E.X1, 0, E.POINT)
        p.call("without_top_bit", E.X1, E.X1)
        p.call("copy", E.BITS, 0, E.SCALAR)
        p.enter("clamp")
        p.enter("ladder")
        p.label("x25519 result")
        p.enter("invert")
        p.call("mul", E.RESULT, E.X2, E.T1)
        frozen(p, E.RESULT, E.RESULT)
        p.call("differ", 0, E.RESULT, E.ZERO)
        p.enter("refuse_equal")
        p.jump("end")

    ladders(p)
    step(p)


def ladders(p: Program):
    """X2 : Z2 = BITS·X1, X3 : Z3 = (BITS + 1)·X1, x of points on the curve or its twist; BITS below 2^255."""
    with p.routine("begin_ladder", secret=True):
        p.call("copy", E.X2, 0, Rom.ONE)
        p.call("copy", E.X3, 0, E.X1)
        p.call("wipe_element", E.Z2)
        p.call("copy", E.Z3, 0, Rom.ONE)
        p.call("double", E.BITS, E.BITS, E.BITS)
        p.enter("flag_off")
        p.ret()
    with p.routine("ladder", secret=True, swaps=True):
        p.enter("begin_ladder")
        with p.times(BITS):
            p.enter("ladder_step")
            p.call("mul", E.Z3, E.Z3, E.X1)
        p.enter("flag_off")
        p.ret()
    with p.routine("base_ladder", secret=True, swaps=True):  # X1 = 9, a tenth less
        p.call("wipe_element", E.X1)
        p.enter("nine")
        p.enter("begin_ladder")
        with p.times(BITS):
            p.enter("ladder_step")
            p.call("mul_9_add", E.Z3, E.Z3, E.ZERO)
        p.enter("flag_off")
        p.ret()


def step(p: Program):
    """One bit, but for the last product: Z3·X1."""
    a, b, c, d = E.T0, E.T1, E.T2, E.T3

    def square(w, of):
        p.call("mul", w, of, of, square=True)

    with p.routine("ladder_step", secret=True, swaps=True):
        p.call("double", E.BITS, E.BITS, E.BITS)
        p.call("add", a, E.X2, E.Z2)
        p.call("sub", b, E.X2, E.Z2)
        p.call("add", c, E.X3, E.Z3)
        p.call("sub", d, E.X3, E.Z3)
        p.call("mul", d, d, a)
        p.call("mul", c, c, b)
        square(a, a)
        square(b, b)
        p.call("add", E.X3, d, c)
        square(E.X3, E.X3)
        p.call("sub", E.Z3, d, c)
        square(E.Z3, E.Z3)
        p.call("mul", E.X2, a, b)
        p.call("sub", c, a, b)
        p.call("add", d, c, c)
        p.call("mul_a24_add", d, d, b)
        p.call("mul", E.Z2, c, d)
        p.ret()
