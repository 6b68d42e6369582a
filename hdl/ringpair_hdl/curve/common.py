"""What all parts use: moving and comparing elements, bytes to and from outside."""

from .assembler import PL, PV, L, Program, V, small
from .elements import BROKEN, COUNT, Q1, STATUS, Q
from .elements import Element as E
from .isa import Pre

__all__ = ["common_leaves"]

Q_LIMB, Q1_LIMB = L(E.SYSTEM, Q), L(E.SYSTEM, Q1)
COUNT_LIMB, STATUS_LIMB, BROKEN_LIMB = (L(E.SYSTEM, limb) for limb in (COUNT, STATUS, BROKEN))
ELEMENT_BYTES = 32


def common_leaves(p: Program):
    """Leaves without a subject of their own."""
    moving(p)
    comparing(p)
    outside(p)


def moving(p: Program):
    """w = b, 0, 2a, a without its top bit; and between POINT, RESULT and the element of a command."""
    with p.leaf("copy"):
        p.zero()
        p.term(PV(), PV(), repeat=16)
        p.ret()
    with p.leaf("wipe_element", anywhere=True):
        p.zero()
        p.carry(PV(), repeat=16)
        p.ret()
    with p.leaf("wipe_system"):
        p.zero()
        p.carry(V(E.SYSTEM), repeat=BROKEN)
        p.ret()
    with p.leaf("double"):  # modulo 2^256; the flag is the top bit
        p.zero()
        p.sum(PV(), PV(), PV(), repeat=16, flag=True)
        p.wait(1)
        p.ret()
    with p.leaf("flag_off"):
        p.acc(pre=Pre.ZERO, flag=True)
        p.wait(2)
        p.ret()
    with p.leaf("without_top_bit"):
        p.xor(small(0x7FFF))
        p.select(PL(15), L(E.ZERO))
        p.from_x(None, PL(15), pre=Pre.ZERO)
        p.ret()
    with p.leaf("put", anywhere=True):
        p.zero()
        p.term(V(E.RESULT), PV(), repeat=16)
        p.jump("end")
    with p.leaf("get"):
        p.zero()
        p.term(PV(), V(E.POINT), repeat=16)
        p.jump("end")


def comparing(p: Program):
    """Whole elements as numbers."""
    with p.leaf("differ"):  # the flag: a is not b
        p.zero()
        p.sum(PV(), PV(), V(E.PRODUCT), sub=True, repeat=16)
        p.zero()
        p.sum(V(E.PRODUCT), None, pre=Pre.HOLD, repeat=16)
        p.acc(w=Q_LIMB, pre=Pre.HOLD)
        p.carry(Q1_LIMB)
        p.wait(1)
        p.term(Q_LIMB, sub=True, pre=Pre.ZERO)
        p.term(Q1_LIMB, Q_LIMB, sub=True, flag=True)
        p.wait(1)
        p.ret()
    with p.leaf("refuse_equal"):
        verdict(p, equal=True)
    with p.leaf("refuse_different"):
        verdict(p, equal=False)
    with p.leaf("accept"):
        p.sum(BROKEN_LIMB, None, STATUS_LIMB, pre=Pre.ZERO)
        p.ret()
    with p.leaf("refuse"):
        p.sum(BROKEN_LIMB, small(1), STATUS_LIMB, pre=Pre.ZERO)
        p.ret()


def verdict(p: Program, *, equal: bool):
    """Of what `differ` has left in Q: 0, or a small negative number."""
    p.wait(2)
    p.sum(Q_LIMB, small(16), pre=Pre.ZERO)
    p.carry(Q1_LIMB)
    p.wait(2)
    if equal:
        p.sum(BROKEN_LIMB, small(1), pre=Pre.ZERO)
        p.term(Q1_LIMB, STATUS_LIMB, sub=True, pre=Pre.HOLD, reveal="an outcome")
    else:
        p.sum(BROKEN_LIMB, Q1_LIMB, STATUS_LIMB, pre=Pre.ZERO, reveal="an outcome")
    p.ret()


def outside(p: Program):
    """An element is turned by a byte 32 times, with its own lowest byte or one from outside coming in at the top."""
    with p.leaf("load"):
        p.load(ELEMENT_BYTES - 1)
        p.label("load byte")
        p.product(PL(0), small(256), pre=Pre.ZERO)
        p.carry()
        p.product(PV(1), small(256), PV(), repeat=15)
        p.byte(PL(15))
        p.count("load byte")
        p.jump("end")

    with p.leaf("turn"):  # Q = 256 times the lowest byte
        p.product(PL(0), small(256), Q_LIMB, pre=Pre.ZERO)
        p.carry()
        p.product(PV(1), small(256), PV(), repeat=15)
        p.term(Q_LIMB, PL(15))
        p.ret()

    with p.leaf("read"):
        p.load(ELEMENT_BYTES - 1)
        p.label("read byte")
        p.emit(PL(0))
        p.enter("turn")
        p.count("read byte")
        p.jump("end")

    with p.leaf("status"):
        p.emit(STATUS_LIMB)
        p.jump("end")
