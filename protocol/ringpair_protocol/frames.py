"""Frames on a serial line: ``COBS(payload || CRC) || 0x00``, the same on the admin port and on the peer port.

* COBS: consistent overhead byte stuffing (S. Cheshire and M. Baker, IEEE/ACM Transactions on Networking 7 (2), 1999).
  No byte inside a frame is zero, so 0x00 ends a frame and a receiver resynchronizes at the next one.
* CRC: the frame check sequence of HDLC (CRC-16/IBM-SDLC, also called CRC-16/X-25; RFC 1662, appendix C), least
  significant byte first. It is the reflected form, which takes the bits in the order in which a serial line brings
  them: the gateware checks it with one shift register, a bit at a time.
* A payload has 1 to 126 bytes; with the CRC that is at most 128 bytes, so a COBS code is at most 129.
* A 0x00 with nothing before it is no frame: senders may put one in front of a frame to flush garbage.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MAX_PAYLOAD = 126
"""Longest payload of a frame in bytes."""

CRC_BYTES = 2
CRC_POLYNOMIAL = 0x8408
"""x^16 + x^12 + x^5 + 1, reflected: the bit of x^15 is the least significant one."""
CRC_INIT = 0xFFFF
CRC_XOR_OUT = 0xFFFF
CRC_GOOD = 0xF0B8
"""Register of the CRC (before the final XOR) after a whole undamaged frame, its CRC included (RFC 1662, C.2)."""

DELIMITER = 0x00


class ErrorKind(IntEnum):
    """Why a frame was refused; the value is the one on the gateware's ``error`` port (0: no error)."""

    CRC = 1
    """The frame is complete, its check sequence is wrong."""
    COBS = 2
    """The delimiter came inside of a block: a zero inside, or a truncated frame."""
    LENGTH = 3
    """No payload (nothing but a CRC, or less), or more than MAX_PAYLOAD bytes."""


@dataclass(frozen=True)
class FrameError:
    """What the decoder returns in the place of a payload when a frame was damaged."""

    kind: ErrorKind

    def __str__(self) -> str:
        reasons = {
            ErrorKind.CRC: "the check sequence (CRC) is wrong: the line lost or changed bits",
            ErrorKind.COBS: "the frame ended inside of a block: the line lost or inserted bytes",
            ErrorKind.LENGTH: f"expected 1 to {MAX_PAYLOAD} bytes of payload",
        }
        return f"bad frame: {reasons[self.kind]}"


def crc_step(crc: int, bit: int) -> int:
    """Register of the CRC after one more bit of the message (bytes least significant bit first)."""
    return crc >> 1 ^ (CRC_POLYNOMIAL if (crc ^ bit) & 1 else 0)


def crc_register(data: bytes | bytearray) -> int:
    """Register of the CRC after `data`, without the final XOR."""
    crc = CRC_INIT
    for byte in data:
        for i in range(8):
            crc = crc_step(crc, byte >> i & 1)
    return crc


def crc16(data: bytes) -> int:
    """CRC-16/IBM-SDLC of `data`; the check value of b"123456789" is 0x906E."""
    return crc_register(data) ^ CRC_XOR_OUT


def cobs_encode(data: bytes) -> bytes:
    """COBS of at most 253 bytes (one code per zero, no block of the full 254 bytes), without the delimiter."""
    if len(data) > 253:
        raise ValueError(f"COBS here takes at most 253 bytes, got {len(data)}: split the data")
    return b"".join(bytes([len(block) + 1]) + block for block in data.split(b"\0"))


def encode(payload: bytes) -> bytes:
    """Whole frame of one payload, delimiter included.

    Raises
    ------
    ValueError
        When the payload is empty or longer than `MAX_PAYLOAD`.
    """
    if not 1 <= len(payload) <= MAX_PAYLOAD:
        raise ValueError(f"a frame carries 1 to {MAX_PAYLOAD} bytes, got {len(payload)}: split the payload")
    return cobs_encode(payload + crc16(payload).to_bytes(CRC_BYTES, "little")) + bytes([DELIMITER])


class Decoder:
    """Takes the bytes of a line in pieces of any size and returns the frames in them.

    Memory is bounded: a frame that grows too long is remembered as an error only. The order of the checks is the
    gateware's: too long, then COBS, then too short, then CRC.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget a frame begun."""
        self._data = bytearray()  # decoded so far: payload and CRC
        self._left = 0  # bytes left in the block, its implied zero not counted
        self._begun = False
        self._long = False

    def feed(self, data: bytes) -> list[bytes | FrameError]:
        """Payloads and errors of all frames that end within `data`."""
        found: list[bytes | FrameError] = []
        for byte in data:
            if byte == DELIMITER:
                if self._begun:
                    found.append(self._finish())
                self.reset()
            else:
                self._take(byte)
        return found

    def _take(self, byte: int) -> None:
        if self._left:
            self._left -= 1
            self._put(byte)
        else:
            if self._begun:
                self._put(0)
            self._left = byte - 1
        self._begun = True

    def _put(self, byte: int) -> None:
        if len(self._data) < MAX_PAYLOAD + CRC_BYTES:
            self._data.append(byte)
        else:
            self._long = True

    def _finish(self) -> bytes | FrameError:
        if self._long:
            return FrameError(ErrorKind.LENGTH)
        if self._left:
            return FrameError(ErrorKind.COBS)
        if len(self._data) <= CRC_BYTES:
            return FrameError(ErrorKind.LENGTH)
        if crc_register(self._data) != CRC_GOOD:
            return FrameError(ErrorKind.CRC)
        return bytes(self._data[:-CRC_BYTES])
