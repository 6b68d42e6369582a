"""SHA-512 (FIPS 180-4) of a message that comes byte by byte.

The schedule and the state are rings of 16 words in four elements each; words do not move, the counter turns the ring.
In round t the counter is 79 - t. Bytes are shifted into the word of the schedule that their place in the block names,
so nothing is lost between two commands but what other routines overwrite: elements 0..11 must be left alone from
HASH_START to HASH_FINISH.
"""

from .assembler import L, Operand, Program, V, small
from .constants import Rom
from .elements import COUNT, LENGTH, Q1, Q
from .elements import Element as E
from .isa import Pre

__all__ = ["sha512"]

Q_LIMB, Q1_LIMB = L(E.SYSTEM, Q), L(E.SYSTEM, Q1)
LENGTH_LIMB, COUNT_LIMB = L(E.SYSTEM, LENGTH), L(E.SYSTEM, COUNT)
ROUNDS = 80
A, B, C, D, EE, F, G, H = range(8)
SUM, NEW = 11, 15
"""Words of the state ring: the variables as FIPS 180-4 names them, a scratch word, and where the new `a` comes."""


def sha512(p: Program):
    """Leaves; see `commands.Command` for what they do."""
    start(p)
    messages(p)
    absorb(p)
    finish(p)
    compress(p)


def ring(element: int, word: int, limb: int, *, vector=False) -> Operand:
    """A limb of a word of a ring, counted from where the counter points."""
    place = 4 * (word % 16) + limb
    return Operand(element + place // 16, place % 16, vector=vector)


def start(p: Program):
    with p.leaf("hash_start"):
        p.enter("begin")
        p.jump("end")
    with p.leaf("begin"):
        p.zero()
        for element in range(E.SCHEDULE, E.SCHEDULE + 4):
            p.carry(V(element), repeat=16)
        p.term(V(Rom.IV), V(E.CHAIN), repeat=16)
        p.zero()
        p.term(V(Rom.IV + 1), V(E.CHAIN + 1), repeat=16)
        p.term(small(0xFFFF), LENGTH_LIMB, pre=Pre.ZERO)
        p.from_x()
        p.ret()


def messages(p: Program):
    """From the stream, from an element, from an element of another routine."""
    with p.leaf("hash_prefixed", resumed=True):
        p.byte(Q_LIMB, pre=Pre.ZERO)
        p.product(Q_LIMB_LATER(p), small(256), pre=Pre.ZERO)
        p.carry(COUNT_LIMB, reveal="a length")
        p.enter("absorb")
        p.jump("next byte")
    with p.leaf("hash", resumed=True):
        p.byte(Q_LIMB, pre=Pre.ZERO)
        p.product(Q_LIMB_LATER(p), small(256), pre=Pre.ZERO)
        p.carry(COUNT_LIMB, reveal="a length")
        p.wait(2)
        p.label("next byte")
        count_down(p)
        p.if_flag("end")
        p.byte(Q_LIMB, pre=Pre.ZERO)
        p.enter("absorb")
        p.jump("next byte")

    with p.leaf("hash_element", resumed=True):
        p.enter("absorb_element")
        p.jump("end")
    with p.leaf("absorb_element"):
        p.term(small(16), pre=Pre.ZERO)
        p.term(small(16), COUNT_LIMB, pre=Pre.HOLD)
        p.wait(2)
        p.label("next byte of element")
        count_down(p)
        p.if_flag("absorbed")
        p.enter("turn")
        p.enter("absorb")
        p.jump("next byte of element")
        p.label("absorbed")
        p.acc(pre=Pre.ZERO, flag=True)
        p.wait(1)
        p.ret()


def Q_LIMB_LATER(p: Program) -> Operand:
    """Q, once it can be read."""
    p.wait(2)
    return Q_LIMB


def count_down(p: Program):
    """The flag: no byte is left."""
    p.sum(COUNT_LIMB, small(1), COUNT_LIMB, sub=True, pre=Pre.ZERO, flag=True)
    p.wait(2)


def absorb(p: Program):
    """The upper byte of Q into the schedule; after the last of a block, the rounds.

    LENGTH is 65535 - bytes so far: it counts words of the ring and bytes of the block down, as the counter does.
    """
    with p.leaf("absorb"):
        p.xor(LENGTH_LIMB, L(E.ZERO), shift=3)
        p.product(LENGTH_LIMB, small(512), Q1_LIMB, pre=Pre.ZERO)  # 0 with the last byte of a block
        p.product(Q_LIMB, small(256), pre=Pre.ZERO)
        p.load_x()
        p.carry()
        p.product(V(E.SCHEDULE), small(256), V(E.SCHEDULE), repeat=4)
        p.sum(Q1_LIMB, small(1), sub=True, pre=Pre.ZERO, flag=True, reveal="a place in a message")
        p.sum(LENGTH_LIMB, small(1), LENGTH_LIMB, sub=True, pre=Pre.ZERO)
        p.from_x()
        p.load(0)
        p.if_flag("compress")
        p.ret()


def finish(p: Program):
    """0x80, zeros up to 16 bytes before the end of a block, the length in bits; then the digest as numbers."""
    with p.leaf("hash_finish", resumed=True):
        p.enter("digest")
        p.jump("end")
    with p.leaf("digest"):
        p.xor(LENGTH_LIMB)
        p.xor(small(0xFFFF))
        p.from_x(None, COUNT_LIMB, pre=Pre.ZERO, reveal="a length")
        p.term(small(0x8000), Q_LIMB, pre=Pre.ZERO)
        p.enter("absorb")
        p.label("pad")
        p.product(LENGTH_LIMB, small(512), pre=Pre.ZERO)
        p.term(small(7680), Q1_LIMB, sub=True, pre=Pre.HOLD)
        p.carry(Q_LIMB, pre=Pre.ZERO)
        p.wait(1)
        p.sum(Q1_LIMB, small(1), sub=True, pre=Pre.ZERO, flag=True, reveal="a place in a message")
        p.wait(2)
        p.if_flag("padded")
        p.enter("absorb")
        p.jump("pad")
        p.label("padded")
        p.acc(pre=Pre.ZERO, flag=True)
        p.load(0)
        p.wait(1)
        p.carry(V(E.SCHEDULE, 2), repeat=3)
        p.carry(V(E.SCHEDULE, 5), repeat=3)
        p.product(COUNT_LIMB, small(8), L(E.SCHEDULE), pre=Pre.ZERO)
        p.carry(L(E.SCHEDULE, 1))
        p.enter("compress")
        p.load(7, ring=True)
        p.label("reverse")
        for limb in range(4):
            from_above = L(E.CHAIN, 3 - limb)
            p.xor(from_above, from_above, shift=8)
            p.from_x(None, L(E.DIGEST, limb), pre=Pre.ZERO)
        p.count("reverse")
        p.load(0)
        p.ret()


def compress(p: Program):
    """80 rounds."""
    chain, state = V(E.CHAIN), ring(E.STATE, 15, 0, vector=True)  # word c of both where the counter is c
    with p.leaf("compress"):
        p.acc(pre=Pre.ZERO, flag=True)
        p.load(7, ring=True)
        p.label("copy state")
        p.zero()
        p.term(chain, state, repeat=4)
        p.count("copy state")
        p.load(ROUNDS - 1, ring=True)
        p.label("round")
        round_words(p)
        p.if_low("no word")
        schedule_word(p)
        p.label("no word")
        p.count("round")
        p.load(7, ring=True)
        p.label("add state")
        p.zero()
        p.sum(chain, state, chain, repeat=4)
        p.count("add state")
        p.load(0)
        p.ret()


def state(word: int, limb: int) -> Operand:
    return ring(E.STATE, word, limb % 4)


def word(t: int, limb: int) -> Operand:
    """Of the schedule: the word t rounds later."""
    return ring(E.SCHEDULE, -t, limb % 4)


def rotations(p: Program, of, number: int, limb: int, *distances: int):
    """X ^= the word rotated to the right by each distance: one of its limbs."""
    for distance in distances:
        low = limb + distance // 16
        p.xor(of(number, low), of(number, low + 1), shift=distance % 16)


def first(limb: int) -> Pre:
    """How a sum of words begins a limb."""
    return Pre.SHIFT if limb else Pre.ZERO


def round_words(p: Program):
    """T1 = Σ1(e) + W + Ch(e, f, g) + h + K; d += T1; new a = T1 + Σ0(a) + Maj(a, b, c)."""
    for limb in range(4):
        rotations(p, state, EE, limb, 14, 18, 41)
        p.from_x(word(0, limb), pre=first(limb))
        p.xor(state(EE, limb))
        p.select(state(F, limb), state(G, limb))
        p.from_x(state(H, limb), pre=Pre.HOLD)
        p.term(V(Rom.K, limb), state(SUM, limb), pre=Pre.HOLD)
    p.zero()
    p.sum(
        ring(E.STATE, D, 0, vector=True), ring(E.STATE, SUM, 0, vector=True), ring(E.STATE, D, 0, vector=True), repeat=4
    )
    for limb in range(4):
        rotations(p, state, A, limb, 28, 34, 39)
        p.from_x(state(SUM, limb), pre=first(limb))
        p.xor(state(A, limb))
        p.xor(state(B, limb))
        p.select(state(C, limb), state(B, limb))  # where a and b differ, c decides
        p.from_x(None, state(NEW, limb), pre=Pre.HOLD)


def schedule_word(p: Program):
    """W of 16 rounds later = σ1(W14) + W9 + σ0(W1) + W0, in the place of W0."""

    def sigma(number, limb, one, two, shift):
        rotations(p, word, number, limb, one, two)
        p.xor(word(number, limb), word(number, limb + 1) if limb < 3 else L(E.ZERO), shift=shift)

    for limb in range(4):
        sigma(14, limb, 19, 61, 6)
        p.from_x(word(9, limb), pre=first(limb))
        sigma(1, limb, 1, 8, 7)
        p.from_x(word(0, limb), word(0, limb), pre=Pre.HOLD)
