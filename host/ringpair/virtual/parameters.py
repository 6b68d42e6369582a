"""The numbers of a virtual board that are not in its gateware."""

from dataclasses import dataclass, field

from ringpair_protocol.admin import BAUD


@dataclass(frozen=True)
class FlashParameters:
    """A serial NOR flash; typical values of a Winbond W25Q32JV.

    Attributes
    ----------
    size : int
        Bytes, a power of two from 64 KB to 16 MB.
    jedec : int
        Manufacturer, type and capacity, as 9F reads them.
    first_byte_s, page_s : float
        Time to program one byte, and a whole page; in between it grows with the number of bytes.
    sector_erase_s, block_erase_s, chip_erase_s : float
        Time to erase 4 KB, 64 KB, everything.
    wake_s : float
        From release of power-down to the first command.
    asleep : bool
        Powers up in power-down, as an iCE40 leaves its flash after configuration: gateware has to send AB first.
    """

    size: int = 4 << 20
    jedec: int = 0xEF4016
    first_byte_s: float = 30e-6
    page_s: float = 0.4e-3
    sector_erase_s: float = 45e-3
    block_erase_s: float = 150e-3
    chip_erase_s: float = 10.0
    wake_s: float = 3e-6
    asleep: bool = True

    def __post_init__(self) -> None:
        if self.size & (self.size - 1) or not 1 << 16 <= self.size <= 1 << 24:
            raise ValueError(f"the flash size must be a power of two from 65536 to 16777216, not {self.size}")


@dataclass(frozen=True)
class Parameters:
    """Clock and line rates of a board; they have to agree with those its gateware was built for.

    Attributes
    ----------
    clock_hz : int
        System clock.
    admin_baud, peer_baud : int
        Bit rates of the two serial lines, at most a quarter of the clock.
    settle_cycles : int
        Cycles for which nothing has to happen before virtual time may stand still.
    seed : int
        Of all noise; the same seed and the same inputs give the same run, cycle by cycle.
    """

    clock_hz: int = 12_000_000
    admin_baud: int = BAUD
    peer_baud: int = BAUD
    settle_cycles: int = 64
    seed: int = 0
    flash: FlashParameters = field(default_factory=FlashParameters)

    def __post_init__(self) -> None:
        for name in ("admin_baud", "peer_baud"):
            baud = getattr(self, name)
            if not 0 < baud <= self.clock_hz // 4:
                raise ValueError(f"{name} must be 1 to {self.clock_hz // 4}, a quarter of the clock, not {baud}")

    def divisor(self, baud: int) -> int:
        """Clock cycles of one bit."""
        return round(self.clock_hz / baud)

    def cycles(self, seconds: float) -> int:
        """Clock cycles in a time."""
        return round(seconds * self.clock_hz)
