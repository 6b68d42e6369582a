"""The admin port of the characterization gateware: raw counts of the rings and raw samples of the noise source.

The same rings at the same places as in the pairing gateware, told by the same floorplan id, and nothing else: no keys,
no sponge, no access to the flash. Frames, replies, refusals (`admin.Code`) and the event ``STARTED`` are those of
`admin`; a device with this gateware has the profile ``CHARACTERIZE`` and knows the commands below only.

==============  ===========================================  =====================================================
command         body                                         body of the reply when OK
==============  ===========================================  =====================================================
IDENTITY        -                                            :class:`admin.Identity`, 26 bytes
READ            place 1 | readings 1 | repeats 1 | window 2  readings x (4 counts of 2 bytes, channels 0 to 3)
CAPTURE         interval 1                                   -   when all samples are in the buffer
NOISE           offset 2 | length 1                          length bytes of the buffer
==============  ===========================================  =====================================================

* READ measures `readings` times (1 to 15), `repeats` times at each place before it goes on to the next one in the order
  of the place number (the 24 of half A, then those of half B, then from the first again). `window` is in system clocks.
  A count is modulo 2^16: half the frequency of the ring times the window, so 54 MHz fill it in 1.2 ms. The window of
  the pairing gateware is `puf.window_clocks`.
* CAPTURE takes `BUFFER_BYTES` x 8 consecutive samples of the noise source, one every `interval` clocks (1 to 255; the
  pairing gateware takes one every `INTERVAL`), untested and unconditioned; the first one is bit 0 of byte 0. It lasts
  87 ms at 12 MHz with that interval. NOISE then reads the buffer, at most 124 bytes at a time; before the first
  CAPTURE it holds zeros.
"""

from collections.abc import Sequence
from enum import IntEnum

from . import admin
from .frames import MAX_PAYLOAD
from .puf import CHANNELS, PLACES

__all__ = [
    "BUFFER_BYTES",
    "CAPTURE_FIELDS",
    "INTERVAL",
    "LENGTHS",
    "MAX_NOISE",
    "MAX_READINGS",
    "NOISE_FIELDS",
    "PLACES_IN_ORDER",
    "READING_BYTES",
    "READ_FIELDS",
    "Opcode",
    "capture_command",
    "noise_command",
    "parse_readings",
    "read_command",
    "reply_body",
]


class Opcode(IntEnum):
    """What the host may ask for."""

    IDENTITY = admin.Opcode.IDENTITY
    READ = 0x20
    CAPTURE = 0x21
    NOISE = 0x22


READ_FIELDS = (("place", 1), ("readings", 1), ("repeats", 1), ("window", 2))
CAPTURE_FIELDS = (("interval", 1),)
NOISE_FIELDS = (("offset", 2), ("length", 1))
FIELDS: dict[Opcode, tuple[tuple[str, int], ...]] = {
    Opcode.IDENTITY: (),
    Opcode.READ: READ_FIELDS,
    Opcode.CAPTURE: CAPTURE_FIELDS,
    Opcode.NOISE: NOISE_FIELDS,
}
LENGTHS = {opcode: 1 + sum(length for _, length in fields) for opcode, fields in FIELDS.items()}
"""Bytes of each command, opcode included."""

PLACES_IN_ORDER = tuple(sorted(PLACES))
"""The order in which READ goes from place to place."""
READING_BYTES = 2 * CHANNELS
MAX_READINGS = (MAX_PAYLOAD - 2) // READING_BYTES
MAX_NOISE = MAX_PAYLOAD - 2

BUFFER_BYTES = 4096
"""Size of the noise buffer; each CAPTURE fills it."""
INTERVAL = 32
"""Clocks between two samples in the pairing gateware."""


def _command(opcode: Opcode, **values: int) -> bytes:
    """Body of a command; its fields in order, little-endian."""
    return b"".join(values[name].to_bytes(length, "little") for name, length in FIELDS[opcode])


def read_command(place: int, readings: int, repeats: int, window: int) -> bytes:
    """Body of READ.

    Raises
    ------
    ValueError
        A field is out of range.
    """
    if place not in PLACES:
        raise ValueError(f"a place is half << 5 | column 0..5 << 2 | row 0..3, not {place}")
    _check("readings", readings, 1, MAX_READINGS)
    _check("repeats", repeats, 1, 255)
    _check("the window", window, 1, 0xFFFF)
    return _command(Opcode.READ, place=place, readings=readings, repeats=repeats, window=window)


def capture_command(interval: int = INTERVAL) -> bytes:
    """Body of CAPTURE. Raises ``ValueError`` as `read_command` does."""
    _check("the interval", interval, 1, 255)
    return _command(Opcode.CAPTURE, interval=interval)


def noise_command(offset: int, length: int) -> bytes:
    """Body of NOISE. Raises ``ValueError`` as `read_command` does."""
    _check("the length", length, 1, MAX_NOISE)
    _check("the offset", offset, 0, BUFFER_BYTES - length)
    return _command(Opcode.NOISE, offset=offset, length=length)


def parse_readings(body: bytes) -> list[tuple[int, ...]]:
    """Counts of the four channels, reading by reading.

    Raises
    ------
    ValueError
        Not a whole number of readings.
    """
    if not body or len(body) % READING_BYTES:
        raise ValueError(f"expected readings of {READING_BYTES} bytes, got {len(body)} bytes")
    counts = [int.from_bytes(body[at : at + 2], "little") for at in range(0, len(body), 2)]
    return [tuple(counts[at : at + CHANNELS]) for at in range(0, len(counts), CHANNELS)]


def reply_body(counts: Sequence[Sequence[int]]) -> bytes:
    """The inverse of `parse_readings`."""
    return b"".join(count.to_bytes(2, "little") for reading in counts for count in reading)


def _check(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{what} must be {low}..{high}, not {value}")
