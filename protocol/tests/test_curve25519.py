"""The curve: the RFCs' known answers, edge values, and what must be refused, beside `cryptography`."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from ringpair_protocol import curve25519
from ringpair_protocol.curve25519 import BASE_U, ORDER, PRIME, BadPoint, check_public_key, elligator2, x25519

from protocol.tests.curve_vectors import ED25519_VECTORS, ITERATED, X25519_VECTORS

unhurried = settings(deadline=None)
"""The curve in plain Python takes its time on a busy computer."""
SEEDS = st.binary(min_size=32, max_size=32)
LOW_ORDER = [
    number.to_bytes(32, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        PRIME - 1,
        PRIME,
        PRIME + 1,
    )
]
"""u-coordinates of small order (D. J. Bernstein, Curve25519; the CPace draft's u0 to u5 and u7)."""


def test_x25519_of_rfc_7748() -> None:
    """Section 5.2: the vectors, and a thousand rounds."""
    for scalar, u, result in X25519_VECTORS:
        assert x25519(bytes.fromhex(scalar), bytes.fromhex(u)).hex() == result
    k = u = BASE_U
    for count in range(1, max(ITERATED) + 1):
        k, u = x25519(k, u), k
        assert k.hex() == ITERATED.get(count, k.hex())


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
@pytest.mark.parametrize("top", [0, 0x80])
def test_small_orders_are_refused(point: bytes, top: int) -> None:
    point = point[:31] + bytes([point[31] | top])
    with pytest.raises(BadPoint, match="small order"):
        x25519(b"\x55" * 32, point)


EDGES = sorted({k % 2**255 for n in (0, 2**254, PRIME, 2**255) for k in range(n - 20, n + 20)})


def test_edge_values_as_the_library() -> None:
    """Coordinates near zero and near the prime, non-canonical ones too, with both top bits."""
    scalar = bytes(range(32))
    ours = X25519PrivateKey.from_private_bytes(scalar)
    for number in [*EDGES, *(edge | 1 << 255 for edge in EDGES)]:
        u = number.to_bytes(32, "little")
        try:
            theirs = ours.exchange(X25519PublicKey.from_public_bytes(u))
        except ValueError:
            with pytest.raises(BadPoint):
                x25519(scalar, u)
        else:
            assert x25519(scalar, u) == theirs


@unhurried
@given(SEEDS, SEEDS)
def test_x25519_as_the_library(scalar: bytes, u: bytes) -> None:
    theirs = X25519PrivateKey.from_private_bytes(scalar)
    assert x25519(scalar, BASE_U) == theirs.public_key().public_bytes_raw()
    if u[1:31] not in (bytes(30), b"\xff" * 30):
        assert x25519(scalar, u) == theirs.exchange(X25519PublicKey.from_public_bytes(u))


@pytest.mark.parametrize(("seed", "key", "message", "signature"), ED25519_VECTORS)
def test_ed25519_of_rfc_8032(seed: str, key: str, message: str, signature: str) -> None:
    assert curve25519.public_key(bytes.fromhex(seed)).hex() == key
    assert curve25519.sign(bytes.fromhex(seed), bytes.fromhex(message)).hex() == signature
    assert curve25519.verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@unhurried
@given(SEEDS, st.binary(max_size=300))
def test_ed25519_as_the_library(seed: bytes, message: bytes) -> None:
    theirs = Ed25519PrivateKey.from_private_bytes(seed)
    signature = curve25519.sign(seed, message)
    assert curve25519.public_key(seed) == theirs.public_key().public_bytes_raw()
    assert signature == theirs.sign(message)
    theirs.public_key().verify(signature, message)
    assert curve25519.verify(curve25519.public_key(seed), message, signature)


@unhurried
@given(SEEDS, st.integers(0, 511), st.binary(min_size=1, max_size=20))
def test_one_wrong_bit_of_a_signature(seed: bytes, bit: int, message: bytes) -> None:
    key, signature = curve25519.public_key(seed), bytearray(curve25519.sign(seed, message))
    signature[bit // 8] ^= 1 << bit % 8
    assert not curve25519.verify(key, message, bytes(signature))
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(key).verify(bytes(signature), message)


def test_a_signature_has_one_form() -> None:
    """S + L solves the equation as well, and is refused (RFC 8032, 5.1.7); so are other lengths and messages."""
    key, signature = curve25519.public_key(b"k" * 32), curve25519.sign(b"k" * 32, b"text")
    larger = int.from_bytes(signature[32:], "little") + ORDER
    assert not curve25519.verify(key, b"text", signature[:32] + larger.to_bytes(32, "little"))
    for wrong in (signature[:-1], signature + b"\0", b"", bytes(64)):
        assert not curve25519.verify(key, b"text", wrong)
    assert not curve25519.verify(key, b"texts", signature)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (PRIME, "not canonical"),
        (PRIME + 1, "not canonical"),
        (2**255 - 1, "not canonical"),
        (1 | 1 << 255, "not canonical"),
        (PRIME - 1 | 1 << 255, "not canonical"),
        (2, "no such point"),
        (0, "small order"),
        (1, "small order"),
        (PRIME - 1, "small order"),
        (2707385501144840649318225287225658788936804267575313519463743609750303402022, "small order"),
        (55188659117513257062467267217118295137698188065244968500265048394206261417927, "small order"),
    ],
)
def test_keys_that_are_refused(number: int, reason: str) -> None:
    key = number.to_bytes(32, "little")
    with pytest.raises(BadPoint, match=reason):
        check_public_key(key)
    assert not curve25519.verify(key, b"", key + bytes(32))


def test_everybody_could_sign_for_a_small_order() -> None:
    """Why such keys are refused: the library takes this signature for any message; we do not."""
    key, other = (1).to_bytes(32, "little"), curve25519.public_key(bytes(32))
    signature = key + bytes(32)

    def library_takes(public_key: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    assert library_takes(key, b"whatever")
    assert library_takes(key, b"anything else")
    assert not library_takes(other, b"whatever")
    assert not curve25519.verify(key, b"whatever", signature)
    with pytest.raises(BadPoint, match="small order"):
        check_public_key(key)


def test_lengths() -> None:
    for call in (lambda: x25519(bytes(31), bytes(32)), lambda: x25519(bytes(32), bytes(33))):
        with pytest.raises(ValueError, match="has 32 bytes, not 3"):
            call()
    with pytest.raises(ValueError, match="a seed has 32 bytes, not 64"):
        curve25519.sign(bytes(64), b"")
    with pytest.raises(BadPoint, match="a point has 32 bytes, not 31"):
        check_public_key(bytes(31))


@unhurried
@given(st.integers(0, 2**255 - 1))
def test_elligator_gives_points_of_the_curve(r: int) -> None:
    """v^2 = u^3 + A u^2 + u has a solution; r and -r give the same point."""
    u = elligator2(r % PRIME)
    assert pow(u**3 + curve25519.A * u**2 + u, (PRIME - 1) // 2, PRIME) in (0, 1)
    assert elligator2(-r % PRIME) == u
