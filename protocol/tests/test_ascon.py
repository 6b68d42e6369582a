"""The Ascon reference against the known-answer files of its designers (when there) and answers typed in here."""

import os
import re
from pathlib import Path

import pytest
from ringpair_protocol import ascon

VECTORS = os.environ.get("RINGPAIR_VECTORS")
needs_vectors = pytest.mark.skipif(not VECTORS, reason="RINGPAIR_VECTORS is not set: no known-answer files")

KEY = bytes(range(16))
NONCE = bytes(range(16, 32))


def known_answers(name):
    """The records of a known-answer file, each a dict of bytes."""
    for block in Path(VECTORS, "ascon", name).read_text().strip().split("\n\n"):
        fields = (re.fullmatch(r"(\w+) = ?(\w*)", line).groups() for line in block.splitlines())
        yield {key: bytes.fromhex(value) for key, value in fields if key != "Count"}


@needs_vectors
def test_hash256_file():
    answers = list(known_answers("asconhash256.kat.txt"))
    assert len(answers) == 1025
    for a in answers:
        assert ascon.hash256(a["Msg"]) == a["MD"]


@needs_vectors
def test_xof128_file():
    answers = list(known_answers("asconxof128.kat.txt"))
    assert len(answers) == 1025
    for a in answers:
        assert ascon.xof128(a["Msg"], len(a["MD"])) == a["MD"]


@needs_vectors
def test_cxof128_file():
    answers = list(known_answers("asconcxof128.kat.txt"))
    assert len(answers) == 1089
    for a in answers:
        assert ascon.cxof128(a["Msg"], a["Z"], len(a["MD"])) == a["MD"]


@needs_vectors
def test_aead128_file():
    answers = list(known_answers("asconaead128.kat.txt"))
    assert len(answers) == 1089
    for a in answers:
        assert ascon.aead128_encrypt(a["Key"], a["Nonce"], a["AD"], a["PT"]) == a["CT"]
        assert ascon.aead128_decrypt(a["Key"], a["Nonce"], a["AD"], a["CT"]) == a["PT"]


# First answers, and a longer one, of the designers' files. Messages there are 00 01 02 …, customization strings
# 10 11 12 …, associated data 30 31 32 ….
HASH256 = {
    0: "0b3be5850f2f6b98caf29f8fdea89b64a1fa70aa249b8f839bd53baa304d92b2",
    8: "b88e497ae8e6fb641b87ef622eb8f2fca0ed95383f7ffebe167acf1099ba764f",
    33: "a58665a2cb9530c502096a7957a76e428af4ad044b4da5c471f9da6f7b3e5868",
}
XOF128 = {
    0: (
        "473d5e6164f58b39dfd84aacdb8ae42ec2d91fed33388ee0d960d9b3993295c6ad77855a5d3b13fe6ad9e6098988373a"
        "f7d0956d05a8f1665d2c67d1a3ad10ff"
    ),
    17: (
        "233af64f97ca9bd97bae06270571e57215c5cb5ba4038536c5c128da1d3a379ae13da3e54546a1499014ca03f2eee10b"
        "7aa930faa58a3994fd4bcc71f6cb1927"
    ),
}
CXOF128 = {
    (0, 0): (
        "4f50159ef70bb3dad8807e034eaebd44c4fa2cbbc8cf1f05511ab66cdcc529905ca12083fc186ad899b270b1473dc5f7"
        "ec88d1052082dcdfe69fb75d269e7b74"
    ),
    (9, 8): (
        "dbd6e0f7a36470698b031f8b798c51096f00eaac70b89d0d0838fb8c6086aebb8a98292964cd302b1ec5c86e0ed7ffa3"
        "34c9cc054702af5a3373613f7da5feca"
    ),
}
AEAD128 = {
    (0, 0): "4f9c278211bec9316bf68f46ee8b2ec6",
    (1, 0): "e8dd576aba1cd3e6fc704de02aedb79588",
    (16, 1): "96107d8a29a7529a7941bdc7df1fe3c6b48691673a22da04bcc261fee0fd6a4d",
    (31, 17): "bf77c71b3de9f1c5b372ef273a08e89be9675adc5777342f1d1ef3c5d4bfc7e5bdc363862a0f72890d8cd522b08964",
}


def test_known_answers():
    for size, digest in HASH256.items():
        assert ascon.hash256(bytes(range(size))).hex() == digest
    for size, output in XOF128.items():
        assert ascon.xof128(bytes(range(size)), 64).hex() == output
    for (size, label), output in CXOF128.items():
        assert ascon.cxof128(bytes(range(size)), bytes(range(16, 16 + label)), 64).hex() == output
    for (size, data), sealed in AEAD128.items():
        associated = bytes(range(0x30, 0x30 + data))
        assert ascon.aead128_encrypt(KEY, NONCE, associated, bytes(range(0x20, 0x20 + size))).hex() == sealed


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100])
def test_decrypt_inverts_and_every_change_is_noticed(size):
    text, data = bytes(range(size)), bytes(range(100, 100 + size))
    sealed = ascon.aead128_encrypt(KEY, NONCE, data, text)
    assert len(sealed) == size + 16
    assert ascon.aead128_decrypt(KEY, NONCE, data, sealed) == text
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1 << at % 8
        with pytest.raises(ascon.WrongTag, match="wrong tag: not encrypted with this key"):
            ascon.aead128_decrypt(KEY, NONCE, data, changed)
    for arguments in (KEY[::-1], NONCE, data), (KEY, NONCE[::-1], data), (KEY, NONCE, data + b"\0"):
        with pytest.raises(ascon.WrongTag):
            ascon.aead128_decrypt(*arguments, sealed)


def test_short_outputs_are_prefixes():
    whole = ascon.cxof128(b"message", b"label", 64)
    assert [ascon.cxof128(b"message", b"label", n) for n in range(65)] == [whole[:n] for n in range(65)]
    assert ascon.xof128(b"message", 32) != ascon.hash256(b"message")


def test_domains_differ():
    assert len({ascon.cxof128(b"m", z, 16) for z in (b"", b"\0", b"\1", bytes(8), bytes(256))}) == 5
    assert ascon.aead128_encrypt(KEY, NONCE, b"", b"") != ascon.aead128_encrypt(KEY, NONCE, b"\0", b"")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like(kind):
    message, label = kind(b"message"), kind(b"label")
    assert ascon.hash256(message) == ascon.hash256(b"message")
    assert ascon.cxof128(message, label, 5) == ascon.cxof128(b"message", b"label", 5)
    sealed = ascon.aead128_encrypt(kind(KEY), kind(NONCE), label, message)
    assert ascon.aead128_decrypt(kind(KEY), kind(NONCE), label, kind(sealed)) == b"message"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ascon.hash256("text"), TypeError, "message must be bytes-like, not str"),
        (lambda: ascon.hash256(5), TypeError, "message must be bytes-like, not int"),
        (lambda: ascon.xof128(b"", -1), ValueError, "length must not be negative, not -1"),
        (lambda: ascon.xof128(b"", 1.0), TypeError, "length must be an int, not float"),
        (lambda: ascon.cxof128(b"", bytes(257), 8), ValueError, "customization must be at most 256 bytes, not 257"),
        (lambda: ascon.cxof128(b"", None, 8), TypeError, "customization must be bytes-like, not NoneType"),
        (lambda: ascon.aead128_encrypt(bytes(15), NONCE, b"", b""), ValueError, "key must be 16 bytes, not 15"),
        (lambda: ascon.aead128_encrypt(KEY, bytes(17), b"", b""), ValueError, "nonce must be 16 bytes, not 17"),
        (lambda: ascon.aead128_encrypt(KEY, NONCE, "", b""), TypeError, "associated_data must be bytes-like, not str"),
        (lambda: ascon.aead128_encrypt(KEY, NONCE, b"", ""), TypeError, "plaintext must be bytes-like, not str"),
        (lambda: ascon.aead128_decrypt(KEY, NONCE, b"", ""), TypeError, "ciphertext must be bytes-like, not str"),
        (
            lambda: ascon.aead128_decrypt(KEY, NONCE, b"", bytes(15)),
            ascon.WrongTag,
            "ciphertext must have at least the 16 bytes of a tag, not 15",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == message


def test_tag_comparison_is_constant_time(monkeypatch):
    """The comparison is hmac's, on whole tags."""
    compared = []
    monkeypatch.setattr(ascon, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    sealed = ascon.aead128_encrypt(KEY, NONCE, b"", b"text")
    with pytest.raises(ascon.WrongTag):
        ascon.aead128_decrypt(KEY, NONCE, b"", sealed)
    assert compared == [(sealed[-16:], sealed[-16:])]
