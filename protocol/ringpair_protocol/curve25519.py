"""Curve25519 in a few lines each: X25519 (RFC 7748), Ed25519 (RFC 8032) and the map Elligator2 (RFC 9380, 6.7.1).

The executable reference of the gateware's engine. Integers are little-endian, field elements are Python integers mod
2^255 − 19. Nothing here takes the same time for every secret: a host signs and agrees on keys with a library instead
(:class:`Curve` is what the two have in common).
"""

from hashlib import sha512
from typing import Protocol

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the subgroup that the base point generates, called L in RFC 8032."""
A = 486662
"""Of the Montgomery curve v^2 = u^3 + A u^2 + u."""
D = -121665 * pow(121666, -1, PRIME) % PRIME
"""Of the Edwards curve −x^2 + y^2 = 1 + d x^2 y^2."""
ROOT_OF_MINUS_ONE = pow(2, (PRIME - 1) // 4, PRIME)
NON_SQUARE = 2
"""Z of Elligator2 on this curve."""

POINT_LENGTH = SCALAR_LENGTH = SEED_LENGTH = 32
SIGNATURE_LENGTH = 64
BASE_U = (9).to_bytes(32, "little")

Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T of x = X/Z, y = Y/Z, xy = T/Z (RFC 8032, 5.1.4)."""


class BadPoint(ValueError):
    """Bytes that are no point which a protocol may go on with."""


class Curve(Protocol):
    """What a protocol needs of an implementation; this module is one."""

    def x25519(self, scalar: bytes, u: bytes, /) -> bytes:
        """Shared u-coordinate. Raises :class:`BadPoint` if it is zero: the point has a small order."""

    def public_key(self, seed: bytes, /) -> bytes:
        """Ed25519 key of a seed."""

    def sign(self, seed: bytes, message: bytes, /) -> bytes:
        """Ed25519 signature, 64 bytes."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes, /) -> bool:
        """Whether a signature is right; False as well for a key that :func:`check_public_key` refuses."""


# ---------------------------------------------------------------------------------------------------- Montgomery form


def x25519(scalar: bytes, u: bytes) -> bytes:
    """The function X25519 (RFC 7748, section 5): any 32 bytes are a point, the top bit is ignored.

    Raises
    ------
    BadPoint
        The result is zero (section 6.1): the point lies in the subgroup of order 8, or the twist's of order 4.
    """
    _expect(scalar, SCALAR_LENGTH, "a scalar")
    _expect(u, POINT_LENGTH, "a point")
    result = _ladder(_clamped(scalar), decode_u(u))
    if result == 0:
        raise BadPoint("the point has a small order: expected one of another key pair")
    return result.to_bytes(32, "little")


def decode_u(u: bytes) -> int:
    """The field element of a u-coordinate; the top bit is ignored, 2^255 − 19 and above wrap around."""
    return (int.from_bytes(u, "little") & (1 << 255) - 1) % PRIME


def elligator2(r: int) -> int:
    """u-coordinate of the point that a field element maps to (RFC 9380, 6.7.1; the draft of CPace, appendix A)."""
    u = -A * pow(1 + NON_SQUARE * r * r, PRIME - 2, PRIME) % PRIME
    square = pow(u * (u * (u + A) + 1), (PRIME - 1) // 2, PRIME) in (0, 1)
    return u if square else (-u - A) % PRIME


def _clamped(scalar: bytes) -> int:
    return int.from_bytes(scalar, "little") & (1 << 254) - 8 | 1 << 254


def _ladder(scalar: int, u: int) -> int:
    """u-coordinate of ``scalar`` times the point, by RFC 7748's formulas."""
    x2, z2, x3, z3 = 1, 0, u, 1
    swapped = 0
    for t in reversed(range(255)):
        bit = scalar >> t & 1
        if bit != swapped:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % PRIME, b * b % PRIME, d * a % PRIME, c * b % PRIME
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % PRIME, u * (da - cb) ** 2 % PRIME
        x2, z2 = aa * bb % PRIME, e * (aa + 121665 * e) % PRIME
    if swapped:
        x2, z2 = x3, z3
    return x2 * pow(z2, PRIME - 2, PRIME) % PRIME


# ------------------------------------------------------------------------------------------------------- Edwards form


def public_key(seed: bytes) -> bytes:
    """Ed25519 key of a seed (RFC 8032, 5.1.5)."""
    scalar, _ = _expand(seed)
    return _encode(_multiply(scalar, BASE))


def sign(seed: bytes, message: bytes) -> bytes:
    """Ed25519 signature (RFC 8032, 5.1.6): point R, then scalar S."""
    scalar, prefix = _expand(seed)
    nonce = _hash(prefix, message) % ORDER
    commitment = _encode(_multiply(nonce, BASE))
    challenge = _hash(commitment, _encode(_multiply(scalar, BASE)), message)
    return commitment + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is right: [S]B − [k]A encodes to R (RFC 8032, 5.1.7, without the factor 8: stricter).

    S from L up, and keys that :func:`check_public_key` refuses, are wrong.
    """
    try:
        key = check_public_key(public_key)
    except BadPoint:
        return False
    if len(signature) != SIGNATURE_LENGTH:
        return False
    commitment, scalar = signature[:32], int.from_bytes(signature[32:], "little")
    if scalar >= ORDER:
        return False
    challenge = _hash(commitment, public_key, message) % ORDER
    return _encode(_add(_multiply(scalar, BASE), _multiply(challenge, _negative(key)))) == commitment


def check_public_key(public_key: bytes) -> Point:
    """The point of an Ed25519 key.

    Raises
    ------
    BadPoint
        It is not on the curve, not canonical (RFC 8032, 5.1.3), or of an order that divides 8: everybody could sign
        for that one.
    """
    point = _decode(public_key)
    double = _add(point, point)
    if _add(double, double)[0] == 0:  # x = 0: four times the point has order 1 or 2
        raise BadPoint("the public key has a small order: expected that of a key pair")
    return point


def _expand(seed: bytes) -> tuple[int, bytes]:
    """Scalar and prefix of a seed."""
    _expect(seed, SEED_LENGTH, "a seed")
    digest = sha512(seed).digest()
    return _clamped(digest[:32]), digest[32:]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(sha512(b"".join(parts)).digest(), "little")


def _encode(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, PRIME - 2, PRIME)
    return (y * inverse % PRIME | (x * inverse % PRIME & 1) << 255).to_bytes(32, "little")


def _decode(encoded: bytes) -> Point:
    """RFC 8032, 5.1.3."""
    if len(encoded) != POINT_LENGTH:
        raise BadPoint(f"a point has {POINT_LENGTH} bytes, not {len(encoded)}")
    number = int.from_bytes(encoded, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    if y >= PRIME:
        raise BadPoint("the point is not canonical: its y-coordinate is 2^255 - 19 or more")
    u, v = (y * y - 1) % PRIME, (D * y * y + 1) % PRIME
    x = u * v**3 * pow(u * v**7, (PRIME - 5) // 8, PRIME) % PRIME
    if (v * x * x - u) % PRIME:
        x = x * ROOT_OF_MINUS_ONE % PRIME
    if (v * x * x - u) % PRIME:
        raise BadPoint("there is no such point on the curve")
    if x == 0 and odd:
        raise BadPoint("the point is not canonical: zero has no negative")
    if x & 1 != odd:
        x = PRIME - x
    return x, y, 1, x * y % PRIME


def _add(p: Point, q: Point) -> Point:
    """Any two points, equal ones too (RFC 8032, 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * D * p[3] * q[3] % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _negative(p: Point) -> Point:
    return -p[0] % PRIME, p[1], p[2], -p[3] % PRIME


def _multiply(scalar: int, point: Point) -> Point:
    result: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _expect(value: bytes, length: int, what: str) -> None:
    if len(value) != length:
        raise ValueError(f"{what} has {length} bytes, not {len(value)}")


BASE = _decode((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little"))
"""B of RFC 8032: y = 4/5, x even."""
