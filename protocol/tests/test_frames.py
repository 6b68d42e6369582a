"""Frames: known answers, round trips, every kind of damage, resynchronization."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ringpair_protocol.frames import (
    CRC_GOOD,
    MAX_PAYLOAD,
    Decoder,
    ErrorKind,
    FrameError,
    cobs_encode,
    crc16,
    crc_register,
    encode,
)

payloads = st.binary(min_size=1, max_size=MAX_PAYLOAD)
COBS, CRC, LENGTH = (FrameError(kind) for kind in (ErrorKind.COBS, ErrorKind.CRC, ErrorKind.LENGTH))


def sealed(data: bytes) -> bytes:
    """COBS of `data` with its right CRC, of any length."""
    return cobs_encode(data + crc16(data).to_bytes(2, "little")) + b"\0"


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0x906E
    assert crc_register(b"123456789\x6e\x90") == CRC_GOOD


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("00110000", "01 02 11 01 01"),
        ("11220033", "03 11 22 02 33"),
        ("11223344", "05 11 22 33 44"),
        ("11000000", "02 11 01 01 01"),
    ],
)
def test_cobs_known_answers(data: str, encoded: str) -> None:
    assert cobs_encode(bytes.fromhex(data)) == bytes.fromhex(encoded)


def test_frame_known_answer() -> None:
    assert encode(b"123456789") == b"\x0c123456789\x6e\x90\0"
    assert encode(b"\0") == bytes.fromhex("01 03 78 f0 00")


@given(st.lists(payloads, max_size=5), st.data())
def test_round_trip_in_pieces(messages: list[bytes], data: st.DataObject) -> None:
    line = b"".join(map(encode, messages))
    assert line.count(b"\0") == len(messages)
    decoder, found = Decoder(), []
    while line:
        size = data.draw(st.integers(1, len(line)))
        found += decoder.feed(line[:size])
        line = line[size:]
    assert found == messages


@given(st.binary(max_size=400), payloads)
def test_resynchronizes_after_garbage(garbage: bytes, payload: bytes) -> None:
    decoder = Decoder()
    decoder.feed(garbage + b"\0")
    assert decoder.feed(encode(payload)) == [payload]


def damaged(frame: bytes) -> Iterator[bytes]:
    body = frame[:-1]
    for i in range(len(body)):
        for bit in range(8):
            yield body[:i] + bytes([body[i] ^ 1 << bit]) + body[i + 1 :] + b"\0"


def test_every_single_bit_error_is_seen() -> None:
    for frame in damaged(encode(bytes.fromhex("11 00 22 00 00 fe 35"))):
        found = Decoder().feed(frame)
        assert found
        assert all(isinstance(item, FrameError) for item in found), frame.hex()


def test_error_kinds() -> None:
    decoder = Decoder()
    frame = encode(b"hello")
    assert decoder.feed(frame[:3] + b"\0") == [COBS]
    assert decoder.feed(frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:]) == [CRC]
    assert decoder.feed(b"\0\0\0") == []
    assert decoder.feed(b"\1\0") == [LENGTH]
    assert decoder.feed(sealed(b"")) == [LENGTH]
    assert decoder.feed(sealed(bytes(127))) == [LENGTH]
    assert decoder.feed(sealed(b"\1" * 200)) == [LENGTH]
    assert decoder.feed(b"\xff" * 5000 + b"\0" + frame) == [LENGTH, b"hello"]


def test_memory_is_bounded() -> None:
    decoder = Decoder()
    decoder.feed(b"\x02" * 100_000)
    assert len(decoder._data) <= MAX_PAYLOAD + 2


@pytest.mark.parametrize("size", [0, 127, 500])
def test_encode_refuses_wrong_lengths(size: int) -> None:
    with pytest.raises(ValueError, match=rf"carries 1 to 126 bytes, got {size}: split"):
        encode(bytes(size))


def test_messages_say_what_happened() -> None:
    assert "expected 1 to 126 bytes" in str(LENGTH)
    assert "CRC" in str(CRC)
    assert "inside of a block" in str(COBS)
