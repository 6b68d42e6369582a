"""The curve engine's results: the standards' vectors, `cryptography`, formulas, and what it has to refuse."""

import hashlib
import hmac
import json
import os
import random
from itertools import product
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from ringpair_hdl.curve.commands import Command, OnElement, Status
from ringpair_hdl.curve.constants import L, P
from ringpair_hdl.curve.elements import KEPT
from ringpair_hdl.curve.elements import Element as E

from host.tests.curve_bench import (
    EDGES,
    VARIANTS,
    Engine,
    Sequences,
    bytes32,
    elligator,
    ladder,
    number,
    point_of_order_8,
)
from protocol.tests.curve_vectors import ED25519_VECTORS, ITERATED, X25519_VECTORS


@pytest.fixture(scope="module", params=VARIANTS)
def engine(request):
    return Engine(request.param())


@pytest.fixture(scope="module")
def does(engine):
    return Sequences(engine)


# ------------------------------------------------------------------------------------------------------ vectors


@pytest.mark.parametrize(("scalar", "point", "expected"), X25519_VECTORS)
def test_x25519_vectors(does, scalar, point, expected):
    assert does.x25519(bytes.fromhex(scalar), bytes.fromhex(point)).hex() == expected
    assert does.engine.status() == 0


def test_x25519_iterated(does):
    """The first round; the campaign `curve-engine` goes through a thousand."""
    assert does.x25519(bytes32(9), bytes32(9)).hex() == ITERATED[1]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), ED25519_VECTORS)
def test_ed25519_vectors(does, seed, public, message, signature):
    seed, public, message, signature = (bytes.fromhex(value) for value in (seed, public, message, signature))
    assert does.public_key(seed) == public
    assert does.sign(seed, public, message) == signature
    assert does.verify(public, message, signature)


CPACE = {  # draft-irtf-cfrg-cpace, appendix B.1: G_X25519 with SHA-512
    "PRS": b"Password",
    "CI": b"\x0bA_initiator\x0bB_responder",
    "sid": "7e4b4791d6a8ef019b936c79fb7f2c57",
    "g": "d04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f",
    "ya": "21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080",
    "Ya": "1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32",
    "yb": "848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a",
    "Yb": "248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623",
    "K": "5b067effbdc0b2a0e1d907b21ebb25cfedb96a852179a847c37e43ee71322c6b",
    "ISK": "6e19b875f7a561d6b3ca3dbb9ef42ac55de3e717881018204b8922b4d5e53bb2"
    "aa82c300bea7b65d2b671da71922ddf6472301b79bc270adfa8bf413285f2263",
}


def test_cpace_vectors(does):
    """The whole of CPace on the engine's commands: generator, Ya, K and the session key."""
    engine, (sid, ya, yb, their) = does.engine, (bytes.fromhex(CPACE[name]) for name in ("sid", "ya", "yb", "Yb"))
    engine.command(Command.HASH_START)
    zeros = bytes(128 - 1 - (1 + len(CPACE["PRS"])) - (1 + len(b"CPace255")))
    for part in (b"CPace255", CPACE["PRS"], zeros, CPACE["CI"], sid):
        engine.command(Command.HASH_PREFIXED, bytes([len(part), *part]))
    engine.command(Command.HASH_FINISH)
    generator = does.elligator(engine.read(E.DIGEST))
    assert generator.hex() == CPACE["g"]
    mine = does.x25519(ya, generator)
    assert mine.hex() == CPACE["Ya"]
    assert does.x25519(yb, generator) == their
    assert does.x25519(ya, their).hex() == CPACE["K"]
    engine.command(OnElement.PUT | KEPT[0])  # RESULT: the working elements belong to the hash
    engine.command(Command.HASH_START)
    for part in (b"CPace255_ISK", sid):
        engine.command(Command.HASH_PREFIXED, bytes([len(part), *part]))
    engine.command(Command.HASH, bytes([1, 32]))
    engine.command(OnElement.HASH | KEPT[0])
    for part in (mine, b"ADa", their, b"ADb"):
        engine.command(Command.HASH_PREFIXED, bytes([len(part), *part]))
    engine.command(Command.HASH_FINISH)
    assert (engine.read(E.DIGEST) + engine.read(E.DIGEST + 1)).hex() == CPACE["ISK"]


@pytest.mark.skipif("RINGPAIR_VECTORS" not in os.environ, reason="no folder of vectors")
def test_cpace_invalid_points(does):
    """The points that the draft's appendix calls invalid give 0, and are refused."""
    vectors = json.loads(Path(os.environ["RINGPAIR_VECTORS"], "cpace", "testvectors.json").read_text())
    points = vectors["X25519_points"]
    assert len(points) == 12
    for name, point in points.items():
        result = does.x25519(bytes.fromhex(CPACE["ya"]), bytes.fromhex(point))
        assert result == ladder(bytes.fromhex(CPACE["ya"]), bytes.fromhex(point)), name
        assert bool(does.engine.status()) == (result == bytes(32)), name


# ------------------------------------------------------------------------------------------------------ against others


@pytest.mark.parametrize("count", [100, pytest.param(600, marks=pytest.mark.slow)])
def test_sha512(engine, count):
    rng = random.Random(count)
    lengths = [*range(18), 55, *range(108, 132), *range(236, 260), 1000, *(rng.randrange(700) for _ in range(count))]
    for length in lengths:
        message = rng.randbytes(length)
        assert engine.sha512(message) == hashlib.sha512(message).digest(), length


def test_sha512_in_pieces(engine):
    """A message is the same in any pieces, from the stream and from elements; time depends on its length only."""
    rng = random.Random(5)
    for _ in range(20):
        message, cycles = b"", []
        engine.command(Command.HASH_START)
        for _ in range(rng.randrange(6)):
            part = rng.randbytes(32 if (element := rng.random() < 0.4) else rng.randrange(256))
            message += part
            if element:
                place = rng.choice([E.SCALAR, E.POINT, E.S, *KEPT])
                engine.load(place, part)
                engine.command(OnElement.HASH | place)
                assert engine.read(place) == part
            else:
                engine.command(Command.HASH, bytes([len(part), *part]))
            cycles.append(engine.cycles)
        engine.command(Command.HASH_FINISH)
        assert engine.read(E.DIGEST) + engine.read(E.DIGEST + 1) == hashlib.sha512(message).digest()


def test_hmac(engine):
    """HMAC with a digest as its key, and another one with the same key."""
    rng = random.Random(6)
    for length in (0, 1, 47, 48, 127, 128, 300):
        key = engine.sha512(secret := rng.randbytes(40))
        assert key == hashlib.sha512(secret).digest()
        for command in (Command.HMAC_START, Command.HMAC_AGAIN, Command.HMAC_AGAIN):
            message = rng.randbytes(length)
            engine.command(command)
            engine.absorb(message)
            engine.command(Command.HMAC_FINISH)
            digest = engine.read(E.DIGEST) + engine.read(E.DIGEST + 1)
            assert digest == hmac.digest(key, message, "sha512"), length


EDGE_POINTS = [
    *(0, 1, 2, 9, P - 1, P, P + 1, 2**255 - 1, 2**255, 2**255 + 9, 2 * P - 1, 2 * P, 2**256 - 1),
    325606250916557431795983626356110631294008115727848805560023387167927233504,  # order 8
    39382357235489614581723060781553021112529911719440698176882885853963445705823,  # order 8, of the twist
]
EDGE_SCALARS = [0, 2**254, 2**256 - 1, int.from_bytes(bytes(range(32)), "little")]


def test_x25519_edges(does):
    """All of the grid; a result of 0 is refused, everything takes the same time."""
    cycles = set()
    for scalar, point in product(map(bytes32, EDGE_SCALARS), map(bytes32, EDGE_POINTS)):
        result = does.x25519(scalar, point)
        assert result == ladder(scalar, point), (scalar.hex(), point.hex())
        assert does.engine.status() == (Status.REFUSED if result == bytes(32) else 0)
        cycles.add(does.cycles)
    assert cycles == {X25519_CYCLES}


X25519_CYCLES = 648_973


@pytest.mark.parametrize("count", [25, pytest.param(150, marks=pytest.mark.slow)])
def test_x25519_random(does, count):
    rng = random.Random(count)
    for _ in range(count):
        scalar, point = rng.randbytes(32), rng.randbytes(32)
        expected = X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))
        assert does.x25519(scalar, point) == expected
        assert does.engine.command(Command.X25519_BASE) == b""
        public = X25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw()
        assert does.engine.read(E.RESULT) == public


@pytest.mark.parametrize("count", [40, pytest.param(150, marks=pytest.mark.slow)])
def test_elligator(does, count):
    rng, cycles = random.Random(count), set()
    for u in [*map(bytes32, EDGES), *(rng.randbytes(32) for _ in range(count))]:
        assert does.elligator(u) == elligator(u), u.hex()
        does.engine.command(Command.ELLIGATOR)
        cycles.add(does.engine.cycles)
    assert len(cycles) == 1


@pytest.mark.parametrize("count", [8, pytest.param(25, marks=pytest.mark.slow)])
def test_ed25519_random(does, count):
    """Keys, signatures and verdicts are those of `cryptography`, also of messages and signatures with a wrong bit."""
    rng = random.Random(count)
    for _ in range(count):
        seed, message = rng.randbytes(32), rng.randbytes(rng.choice([0, 1, 46, 47, 63, 64, 65, 100, 192, 500]))
        key = Ed25519PrivateKey.from_private_bytes(seed)
        public = key.public_key().public_bytes_raw()
        assert does.public_key(seed) == public
        signature = does.sign(seed, public, message)
        assert signature == key.sign(message)
        assert does.verify(public, message, signature)
        for _ in range(3):
            parts = [public, message or b"?", signature]
            which = rng.randrange(3)
            flipped = 1 << rng.randrange(8 * len(parts[which]))
            parts[which] = (number(parts[which]) ^ flipped).to_bytes(len(parts[which]), "little")
            assert does.verify(*parts) == accepted(*parts), [part.hex() for part in parts]


def accepted(public, message, signature):
    """Whether `cryptography` accepts it."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# ------------------------------------------------------------------------------------------------------ refusals


def test_ed25519_small_order(does):
    """The neutral point as public key and R, with S = 0: the equation holds for any message, only a check refuses."""
    eighth = [y | sign << 255 for y in point_of_order_8() for sign in (0, 1)]
    for y in [1, P - 1, 0, 1 << 255, *eighth]:
        for message in (b"", b"a", b"b", b"c", b"d", b"e", b"f", b"g"):
            assert not does.verify(bytes32(y), message, bytes32(1) + bytes(32)), hex(y)
            assert does.engine.status() == Status.REFUSED


def test_ed25519_refused_encodings(does):
    """y of p and more, no point, x = 0 with a sign; S of L and more; R that is not the canonical encoding."""
    seed, message = bytes(range(32)), b"message"
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert does.verify(public, message, signature)
    for y in (*range(P, 2**255), 2, 7, 2**255 - 1 | 1 << 255, 1 | 1 << 255):
        assert not does.verify(bytes32(y), message, signature), hex(y)
    r, s = signature[:32], number(signature[32:])
    for wrong in (s + L, L, 2**253, 2**256 - 1, s ^ 1, s + 8 * L if s + 8 * L < 2**256 else s + L):
        assert not does.verify(public, message, r + bytes32(wrong)), hex(wrong)
    for wrong in (number(r) ^ 1 << 255, number(r) ^ 1, 0, P, P + 1, 2**256 - 1):
        assert not does.verify(public, message, bytes32(wrong) + signature[32:]), hex(wrong)
    assert does.verify(public, message, signature)
