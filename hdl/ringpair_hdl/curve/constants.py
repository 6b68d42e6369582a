"""Numbers of the standards, and the read-only half of the memory that holds them."""

import hashlib
import math

__all__ = ["BASE_Y", "SQRT_M1", "D", "L", "P", "Rom", "base_x", "limbs", "rom_words"]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
"""Order of the base point (RFC 8032, section 5.1)."""
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, -1, P) % P
BASE_U, BASE_V = 9, 14781619447589544791020593568409986887264606134616475288964881837755586237401
"""Base point of Curve25519 (RFC 7748, section 4.1)."""
MONTGOMERY_A = 486662
A24 = 60833
"""(486662 + 2) / 8, half of the ladder's constant."""
LIMBS = 16


def base_x() -> int:
    """x of the base point of Ed25519: the even root."""
    square = (BASE_Y * BASE_Y - 1) * pow(D * BASE_Y * BASE_Y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    return P - x if x & 1 else x


def limbs(value: int, count: int = LIMBS) -> list[int]:
    """A number as limbs of 16 bits, the lowest first."""
    return [value >> 16 * place & 0xFFFF for place in range(count)]


def primes(count: int) -> list[int]:
    """The first primes."""
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def cube_root(number: int) -> int:
    """Rounded down."""
    root = 1 << (number.bit_length() + 2) // 3
    while root**3 > number:
        root = (2 * root + number // root**2) // 3
    return root


SHA_K = [cube_root(prime << 192) % 2**64 for prime in primes(80)]
SHA_IV = [math.isqrt(prime << 128) % 2**64 for prime in primes(8)]
"""FIPS 180-4, sections 4.2.3 and 5.3.5: fractions of cube roots and square roots."""

X, Y = base_x(), BASE_Y
RECOVER_X = 2 * BASE_V * X * BASE_V * pow(BASE_U, -1, P) % P
"""2v·c with x = c·u/v for all points: the base point tells c."""


class Rom:
    """Elements of the constants, as port B numbers them. The first 20 are the table of SHA-512."""

    K = 32
    IV = 52  # two
    ONE = 54
    D = 55
    SMALL = 56
    SQRT_M1 = 57
    RECOVER_X = 58
    L = 59
    C16 = 60  # 16·(L - 2^252)
    BASE = 61  # three: y - x, y + x, 2dxy


def known_answer() -> int:
    """Sum of the limbs of what the self-test computes: Elligator 2 of SHA-512 of nothing, modulo L."""
    u = int.from_bytes(hashlib.sha512().digest(), "little") % L
    one = -MONTGOMERY_A * pow(1 + 2 * u * u, -1, P) % P
    square = pow(one**3 + MONTGOMERY_A * one**2 + one, (P - 1) // 2, P) in (0, 1)
    return sum(limbs(one if square else (-one - MONTGOMERY_A) % P)) % 2**16


KNOWN_ANSWER = known_answer()
SMALL = (1, 2, 8, 9, 16, 256, 512, 7680, 0x3FFF, 0x4000, 0x7FFF, 0x8000, A24, 0xFFF8, 0xFFFF, KNOWN_ANSWER)
"""Constants of one limb."""


def rom_words() -> list[int]:
    """The 512 words. The round constants stand in reverse: that of round t at limb 4·(79 - t)."""
    elements = {
        Rom.IV: sum(word << 64 * number for number, word in enumerate(SHA_IV[:4])),
        Rom.IV + 1: sum(word << 64 * number for number, word in enumerate(SHA_IV[4:])),
        Rom.ONE: 1,
        Rom.SMALL: sum(constant << 16 * number for number, constant in enumerate(SMALL)),
        Rom.D: D,
        Rom.SQRT_M1: SQRT_M1,
        Rom.RECOVER_X: RECOVER_X,
        Rom.L: L,
        Rom.C16: 16 * (L - 2**252),
        Rom.BASE: (Y - X) % P,
        Rom.BASE + 1: (Y + X) % P,
        Rom.BASE + 2: 2 * D * X * Y % P,
    }
    words = [limb for constant in reversed(SHA_K) for limb in limbs(constant, 4)]
    for element in range(Rom.IV, 64):
        words += limbs(elements[element])
    return words
