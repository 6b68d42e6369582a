"""Arithmetic modulo L, the order of the base point, for numbers of up to 512 bits.

2^252 = -c mod L with a c of 125 bits, so 2^256 = -16c: what stands above 256 bits is multiplied by 16c and taken away,
three times. `trim` takes the multiple of L away that the highest four bits ask for, which leaves 0 … 2L.
"""

from .assembler import PL, PV, L, Program, V, small
from .constants import Rom
from .elements import Element as E
from .isa import Pre

__all__ = ["canonical", "scalar_arithmetic"]

HIGH, LOW, TAKEN, GIVEN, QUOTIENT = E.X1, E.T0, E.T1, E.T2, E.T3
"""HIGH·2^256 + LOW is reduced to LOW."""


def scalar_arithmetic(p: Program):
    """Leaves, and ``reduce``: LOW = HIGH·2^256 + LOW mod L, below 2L."""
    with p.leaf("product"):  # 512 bits
        p.zero()
        p.product(PV(), PV(), V(E.PRODUCT), scan=True)
        p.carry(L(E.PRODUCT_HIGH, 15))
        p.ret()
    with p.leaf("plus"):  # modulo 2^256
        p.zero()
        p.sum(PV(), PV(), PV(), repeat=16)
        p.ret()
    with p.leaf("minus"):  # modulo 2^256; the flag: it is negative
        p.zero()
        p.sum(PV(), PV(), PV(), sub=True, repeat=16, flag=True)
        p.wait(1)
        p.ret()
    with p.leaf("quotient"):
        p.product(PL(15), small(16), pre=Pre.ZERO)
        p.carry(L(QUOTIENT))
        p.ret()

    with p.routine("reduce", secret=True):
        p.call("wipe_element", QUOTIENT)
        p.call("product", 0, HIGH, Rom.C16)
        p.call("copy", TAKEN, 0, E.PRODUCT)
        p.call("copy", HIGH, 0, E.PRODUCT_HIGH)  # 129 bits
        p.call("product", 0, HIGH, Rom.C16)
        p.call("copy", GIVEN, 0, E.PRODUCT)
        p.call("copy", HIGH, 0, E.PRODUCT_HIGH)  # 2 bits
        for number in (TAKEN, GIVEN, LOW):
            trim(p, number)
        p.call("plus", LOW, LOW, GIVEN)
        for _ in range(3):  # what is taken is below 2L + 2^131
            p.call("plus", LOW, LOW, Rom.L)
        p.call("product", 0, HIGH, Rom.C16)
        p.call("minus", LOW, LOW, E.PRODUCT)
        p.call("minus", LOW, LOW, TAKEN)
        trim(p, LOW)
        p.enter("flag_off")
        p.ret()
    with p.routine("reduce_digest", secret=True):
        p.call("copy", HIGH, 0, E.DIGEST + 1)
        p.call("copy", LOW, 0, E.DIGEST)
        p.enter("reduce")
        canonical(p)
        p.ret()


def trim(p: Program, number: int):
    """number - (q - 1)·L with q = number >> 252."""
    p.call("quotient", 0, number)
    p.call("product", 0, QUOTIENT, Rom.L)
    p.call("plus", number, number, Rom.L)
    p.call("minus", number, number, E.PRODUCT)


def canonical(p: Program):
    """LOW mod L, for LOW below 2L: the swap by the flag chooses between it and LOW - L."""
    p.call("minus", GIVEN, LOW, Rom.L)
    p.enter("flag_off")
    p.call("copy", E.X2, 0, GIVEN)
    p.call("copy", E.X3, 0, LOW)
    p.call("minus", GIVEN, LOW, Rom.L)
    p.call("copy", LOW, 0, E.X2, swaps=True)
    p.enter("flag_off")
