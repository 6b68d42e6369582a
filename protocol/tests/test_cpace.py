"""CPACE-X25519-SHA512: the draft's vectors, another implementation, and shares that are none."""

import hmac
import json
import os
from hashlib import sha512
from pathlib import Path

import pytest
from cpace import CPace, CPaceRole
from hypothesis import given
from hypothesis import strategies as st
from ringpair_protocol import cpace
from ringpair_protocol.curve25519 import BadPoint, x25519

TYPED = {
    "PRS": b"Password".hex(),
    "CI": "0b415f696e69746961746f720b425f726573706f6e646572",
    "sid": "7e4b4791d6a8ef019b936c79fb7f2c57",
    "g": "d04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f",
    "ya": "21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080",
    "ADa": b"ADa".hex(),
    "Ya": "1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32",
    "yb": "848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a",
    "ADb": b"ADb".hex(),
    "Yb": "248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623",
    "K": "5b067effbdc0b2a0e1d907b21ebb25cfedb96a852179a847c37e43ee71322c6b",
    "ISK_IR": "6e19b875f7a561d6b3ca3dbb9ef42ac55de3e717881018204b8922b4d5e53bb2"
    "aa82c300bea7b65d2b671da71922ddf6472301b79bc270adfa8bf413285f2263",
}
FOLDER = os.environ.get("RINGPAIR_VECTORS")
needs_vectors = pytest.mark.skipif(not FOLDER, reason="RINGPAIR_VECTORS is not set; the typed-in answers were checked")
BYTES = st.binary(max_size=150)
SCALARS = st.binary(min_size=32, max_size=32)


def vectors() -> dict[str, dict[str, str]]:
    return json.loads((Path(FOLDER or "") / "cpace" / "testvectors.json").read_text())


def check(values: dict[str, str]) -> None:
    """Every value that the draft gives for a run in which the initiator and the responder are told apart."""
    v = {name: bytes.fromhex(text) for name, text in values.items()}
    assert cpace.generator(v["PRS"], v["CI"], v["sid"]) == v["g"]
    for scalar, share in ((v["ya"], v["Ya"]), (v["yb"], v["Yb"])):
        assert cpace.share(scalar, v["PRS"], v["CI"], v["sid"]) == share
    assert x25519(v["ya"], v["Yb"]) == x25519(v["yb"], v["Ya"]) == v["K"]
    sides = (v["Ya"], v["ADa"]), (v["Yb"], v["ADb"])
    a = cpace.agree(v["ya"], v["Yb"], v["sid"], *sides)
    b = cpace.agree(v["yb"], v["Ya"], v["sid"], *sides)
    assert a == b
    assert a.isk == v["ISK_IR"]
    mac_key = sha512(b"CPaceMac" + v["sid"] + a.isk).digest()
    assert a.tag_a == hmac.digest(mac_key, b"\x20" + v["Ya"] + b"\x03" + v["ADa"], "sha512")
    assert a.tag_b == hmac.digest(mac_key, b"\x20" + v["Yb"] + b"\x03" + v["ADb"], "sha512")


def test_typed_in() -> None:
    check(TYPED)


@needs_vectors
def test_draft() -> None:
    check(vectors()["G_25519"])


@needs_vectors
def test_points_of_the_draft() -> None:
    """u0 to u5 and u7 have a small order; the others would have, if the top bit counted."""
    refused = set()
    for name, point in vectors()["X25519_points"].items():
        try:
            x25519(bytes.fromhex(TYPED["ya"]), bytes.fromhex(point))
        except BadPoint:
            refused.add(int(name.removeprefix("Invalid Y")))
    assert refused == {0, 1, 2, 3, 4, 5, 7}


def test_lengths_are_prepended_in_leb128() -> None:
    assert cpace.prepend_length(b"") == b"\0"
    assert cpace.prepend_length(bytes(127)) == b"\x7f" + bytes(127)
    assert cpace.prepend_length(bytes(128)) == b"\x80\x01" + bytes(128)
    assert cpace.prepend_length(bytes(300)) == b"\xac\x02" + bytes(300)
    assert len(cpace.generator_string(b"12345678", b"ci", b"sid")[:128]) == 128
    assert cpace.generator_string(b"1" * 8, b"ci", b"sid")[128:] == b"\x02ci\x03sid"


@given(BYTES, BYTES, st.binary(min_size=1, max_size=40), BYTES, BYTES, SCALARS)
def test_against_another_implementation(prs: bytes, ci: bytes, sid: bytes, ada: bytes, adb: bytes, y: bytes) -> None:
    """We are the initiator, then the responder."""
    for role in (CPaceRole.RESPONDER, CPaceRole.INITIATOR):
        we_begin = role is CPaceRole.RESPONDER
        theirs = CPace.start(role=role, prs=prs, sid=sid, ci=ci, ad=adb if we_begin else ada)
        ours = cpace.share(y, prs, ci, sid)
        theirs.derive(ours, ada if we_begin else adb)
        sides = (ours, ada), (theirs.public_share, adb)
        if not we_begin:
            sides = (theirs.public_share, ada), (ours, adb)
        agreed = cpace.agree(y, theirs.public_share, sid, *sides)
        assert agreed.isk == theirs.isk
        assert theirs.tag() == (agreed.tag_b if we_begin else agreed.tag_a)
        assert theirs.verify(agreed.tag_a if we_begin else agreed.tag_b)


def test_another_pin_gives_another_key() -> None:
    sid, ci = b"s" * 16, b"ci"
    ya, yb = cpace.share(b"a" * 32, b"123456", ci, sid), cpace.share(b"b" * 32, b"123457", ci, sid)
    a = cpace.agree(b"a" * 32, yb, sid, (ya, b""), (yb, b""))
    b = cpace.agree(b"b" * 32, ya, sid, (ya, b""), (yb, b""))
    assert not {a.isk, a.tag_a, a.tag_b} & {b.isk, b.tag_a, b.tag_b}


def test_a_share_of_small_order_is_refused() -> None:
    with pytest.raises(BadPoint):
        cpace.agree(b"a" * 32, bytes(32), b"s", (bytes(32), b""), (bytes(32), b""))
