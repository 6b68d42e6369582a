"""A board with the characterization gateware: raw counts of its rings, raw samples of its noise source.

::

    with Characterizer.open("/dev/ttyUSB1") as board:
        reads = board.counts_of_all(board.window, repeats=16)   # 16 reads of 192 counts
        raw = board.noise(1 << 17)                              # 2^20 samples

Measuring belongs here, evaluating does not: see :mod:`ringpair.measure`.
"""

from collections.abc import Callable
from typing import TypeVar, cast

from ringpair_protocol import admin, puf
from ringpair_protocol import characterize as protocol
from ringpair_protocol.characterize import BUFFER_BYTES, INTERVAL, MAX_NOISE, MAX_READINGS, PLACES_IN_ORDER, Opcode

from .errors import ProtocolError, TransportError, UsageError
from .events import Started
from .line import OnLine, parsed
from .transport import Transport

__all__ = ["Characterizer"]

REPLY_TIMEOUT_S = 5.0
"""15 readings with the longest window take 0.1 s, a capture with the longest interval 0.7 s."""
SIMULATED_PATIENCE = 12

R = TypeVar("R")


class Characterizer(OnLine):
    """A connected board with the profile ``CHARACTERIZE``.

    Parameters
    ----------
    transport
        The open way to its admin port; closed with the board.

    Raises
    ------
    ProtocolError
        Nothing answers, or something else than the characterization gateware of this protocol level.

    Attributes
    ----------
    identity : admin.Identity
        What the board says of itself.
    window : int
        The window of the pairing gateware, in clocks of this board.
    """

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        if self.identity.profile != admin.Profile.CHARACTERIZE:
            profile = self.identity.profile.name.lower()
            self.close()
            raise ProtocolError(
                f"expected the characterization gateware on {transport.name}, its profile is {profile}: "
                "flash it with `ringpair flash BOARD --profile characterize`"
            )
        self.window = puf.window_clocks(self.identity.clock_mhz * 1_000_000)
        self._timeout = REPLY_TIMEOUT_S * (SIMULATED_PATIENCE if self.identity.simulated else 1)

    def counts(self, place: int, window: int | None = None, repeats: int = 1) -> list[tuple[int, ...]]:
        """Counts of the four rings at a place, channels 0 to 3, one tuple a read.

        Parameters
        ----------
        place : int
            One of ``puf.PLACES``.
        window : int, optional
            System clocks, 1 to 65535; by default that of the pairing gateware. Counts are modulo 2^16.
        repeats : int
            Reads, directly one after the other in groups of 15.

        Raises
        ------
        UsageError
            A value is out of range.
        """
        window = self.window if window is None else window
        if repeats < 1:
            raise UsageError(f"expected at least one read, got {repeats}")
        reads: list[tuple[int, ...]] = []
        while len(reads) < repeats:
            count = min(MAX_READINGS, repeats - len(reads))
            reads += self._readings(place, count, count, window)
        return reads

    def counts_of_all(self, window: int | None = None, repeats: int = 1) -> list[list[int]]:
        """Counts of all rings by their number, one list of 192 a read; the array is read `repeats` times from end to
        end, as the pairing gateware does.
        """
        window = self.window if window is None else window
        reads = []
        for _ in range(repeats):
            counts = [0] * puf.RINGS
            for first in range(0, len(PLACES_IN_ORDER), MAX_READINGS):
                places = PLACES_IN_ORDER[first : first + MAX_READINGS]
                readings = self._readings(places[0], len(places), 1, window)
                for place, reading in zip(places, readings, strict=True):
                    for channel, count in enumerate(reading):
                        counts[puf.ring_number(channel, place)] = count
            reads.append(counts)
        return reads

    def noise(self, size: int, interval: int = INTERVAL) -> bytes:
        """Raw samples of the noise source, 8 a byte, the first one in bit 0.

        Each 4096 bytes are consecutive samples; between such sets the source runs on unseen.

        Parameters
        ----------
        size : int
            Bytes.
        interval : int
            Clocks from one sample to the next, 1 to 255.
        """
        data = bytearray()
        while len(data) < size:
            self._command(Opcode.CAPTURE, _valid(protocol.capture_command, interval))
            wanted = min(BUFFER_BYTES, size - len(data))
            for offset in range(0, wanted, MAX_NOISE):
                length = min(MAX_NOISE, wanted - offset)
                part = self._command(Opcode.NOISE, _valid(protocol.noise_command, offset, length))
                if len(part) != length:
                    raise ProtocolError(
                        f"expected {length} bytes of noise from {self.port}, got {len(part)}: try again"
                    )
                data += part
        return bytes(data)

    def restarted(self, timeout: float) -> bool:
        """Whether the board started anew, or its port broke off, since the last call or within ``timeout`` seconds.

        After a broken port this object is of no more use.
        """
        try:
            return self._line.take((Started,), timeout) is not None
        except TransportError:
            return True

    def _readings(self, place: int, readings: int, repeats: int, window: int) -> list[tuple[int, ...]]:
        body = self._command(Opcode.READ, _valid(protocol.read_command, place, readings, repeats, window))
        found = parsed(self.port, _admin(Opcode.READ), protocol.parse_readings, body)
        if len(found) != readings:
            raise ProtocolError(f"expected {readings} readings from {self.port}, got {len(found)}: try again")
        return found

    def _command(self, opcode: Opcode, body: bytes) -> bytes:
        return self._line.exchange(_admin(opcode), body, self._timeout).body


def _admin(opcode: Opcode) -> admin.Opcode:
    """The line cares for name and number only, not for which gateware knows the opcode."""
    return cast("admin.Opcode", opcode)


def _valid(make: Callable[..., bytes], *values: int) -> bytes:
    try:
        return make(*values)
    except ValueError as problem:
        raise UsageError(str(problem)) from problem
