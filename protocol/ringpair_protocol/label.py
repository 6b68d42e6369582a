"""What a device's label says: its id and its preset PIN, with a checksum, as the text of a QR code.

::

    RP1:0123456789ABCDEF:12345678:C0DE      id in hexadecimal, PIN, CRC-16 of what is before the last colon

All characters are of a QR code's alphanumeric set.
"""

from dataclasses import dataclass, field

from .frames import crc16
from .messages import ID_LENGTH

PREFIX = "RP1"
PIN_LENGTHS = range(6, 13)


@dataclass(frozen=True)
class Label:
    """A device and its PIN."""

    device_id: bytes
    pin: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.device_id) != ID_LENGTH:
            raise ValueError(f"a device id has {ID_LENGTH} bytes, not {len(self.device_id)}")
        check_pin(self.pin)

    def to_text(self) -> str:
        text = f"{PREFIX}:{self.device_id.hex().upper()}:{self.pin}"
        return f"{text}:{crc16(text.encode()):04X}"

    @classmethod
    def from_text(cls, text: str) -> "Label":
        """Raises ``ValueError`` for anything else than a label; letters may be small."""
        body, _, check = text.strip().upper().rpartition(":")
        parts = body.split(":")
        if len(parts) != 3 or parts[0] != PREFIX:
            raise ValueError(f"a label reads {PREFIX}:ID:PIN:CHECK: copy all of it")
        if not body.isascii() or check != f"{crc16(body.encode()):04X}":
            raise ValueError("the label's checksum is wrong: read or type it again")
        return cls(bytes.fromhex(parts[1]), parts[2])


def check_pin(pin: str) -> str:
    """The PIN, if it can be one; else ``ValueError``."""
    if not (pin.isascii() and pin.isdigit() and len(pin) in PIN_LENGTHS):
        raise ValueError(
            f"a PIN has {PIN_LENGTHS[0]} to {PIN_LENGTHS[-1]} digits, not {len(pin)} characters: type it again"
        )
    return pin
