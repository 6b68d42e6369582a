"""The library's curve and the reference's are the same, in what they refuse, too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair.controller import LibraryCurve
from ringpair_protocol import curve25519
from ringpair_protocol.curve25519 import BASE_U, ORDER, PRIME, BadPoint

from protocol.tests.test_curve25519 import EDGES, LOW_ORDER, SEEDS

CURVE = LibraryCurve()


def agree(name, *arguments):
    """Both give the same, or both refuse; what they give."""
    results = []
    for curve in (curve25519, CURVE):
        try:
            results.append(getattr(curve, name)(*arguments))
        except BadPoint:
            results.append(BadPoint)
    assert results[0] == results[1], (name, arguments)
    return results[0]


@given(SEEDS, SEEDS, st.binary(max_size=100), st.integers(0, 95 * 8))
def test_random(scalar, u, message, bit):
    agree("x25519", scalar, u)
    agree("x25519", scalar, BASE_U)
    key, signature = agree("public_key", scalar), agree("sign", scalar, message)
    assert agree("verify", key, message, signature) is True
    raw = bytearray(key + signature)
    raw[bit // 8] ^= 1 << bit % 8
    agree("verify", bytes(raw[:32]), message, bytes(raw[32:]))


def test_edges():
    for number in EDGES:
        point = number.to_bytes(32, "little")
        agree("x25519", b"s" * 32, point)
        agree("verify", point, b"", point + bytes(32))
        agree("verify", (number | 1 << 255).to_bytes(32, "little"), b"", (1).to_bytes(32, "little") + bytes(32))


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_small_orders(point):
    assert agree("x25519", b"s" * 32, point) is BadPoint


def test_keys_and_signatures_that_are_refused():
    """A neutral key with its signature for everything, a second form of a scalar, wrong lengths."""
    neutral = (1).to_bytes(32, "little")
    assert agree("verify", neutral, b"whatever", neutral + bytes(32)) is False
    key, signature = CURVE.public_key(b"k" * 32), CURVE.sign(b"k" * 32, b"text")
    larger = (int.from_bytes(signature[32:], "little") + ORDER).to_bytes(32, "little")
    assert agree("verify", key, b"text", signature[:32] + larger) is False
    assert agree("verify", (PRIME + 1).to_bytes(32, "little"), b"", neutral + bytes(32)) is False
    for wrong in (b"", signature[:-1], signature + b"0"):
        assert agree("verify", key, b"text", wrong) is False
    assert agree("verify", key[:-1], b"text", signature) is False
