"""The exerciser as a compiled board, and its commands in Python."""

import functools
from pathlib import Path

from ringpair.virtual import SimulatedDevice, build

from .exerciser import Exerciser


@functools.cache
def library(reference=False, **arguments) -> Path:
    """Compiled exerciser; see `Exerciser` for the arguments."""
    return build(Exerciser(**arguments), reference=reference)


def flash_command(data: bytes, answer: int = 0) -> bytes:
    """Bytes for the admin port that make one flash transaction."""
    return b"\x02" + len(data).to_bytes(2, "little") + data + answer.to_bytes(2, "little")


def flash(device: SimulatedDevice, data: bytes, answer: int = 0) -> bytes:
    """Make one flash transaction; return as soon as chip select rose."""
    entries = device.status.phase_entries[0]
    got = device.exchange(flash_command(data, answer), answer)
    for _ in range(1_000_000):
        if device.status.phase_entries[0] > entries and not device.status.admin_pending:
            return got
        device.run(12)
    raise TimeoutError("the exerciser did not end the transaction")


def program(device: SimulatedDevice, address: int, data: bytes) -> None:
    """Write enable and page program; return while it runs."""
    flash(device, b"\x06")
    flash(device, b"\x02" + address.to_bytes(3, "big") + data)


def ring_counts(device: SimulatedDevice, place: int) -> list[int]:
    """Measure one place: counts of the four channels."""
    answer = device.exchange(bytes([3, place]), 8)
    return [int.from_bytes(answer[i : i + 2], "little") for i in range(0, 8, 2)]
