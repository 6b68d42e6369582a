"""From ring counts to bits: the arithmetic of the PUF, bit for bit as in the gateware.

Pure integers. A ring oscillator gives a count per window; 192 counts give 192 bits and, at enrollment, 72 bytes of
public helper data that say nothing about the bits.

Quantizer
---------
Rings are compared with the mean of their row of 16. With c the count of a ring and S the sum of the 16 counts of its
row, the deviation from the row is d = 16 c / S - 1 - layout[ring]. Nothing is divided; all decisions are signs of

    R(t) = 16 c - floor(S * (2**18 + layout[ring] + t) / 2**18)

where `layout` and the decision level `t` are relative deviations in units of 2**-18: R(t) >= 0 means d >= t.

* Enrollment (counts are sums of 16 reads): code = floor(16 Phi(d / sigma)), found by binary search among the 15
  boundaries t = sigma Phi^-1(j / 16); bit = code >= 8, helper = code mod 8. The two halves of the distribution are
  mirror images: the helper value (3 bits) is independent of the bit.
* Reconstruction (one read): bit = R(threshold[helper]) >= 0. The threshold lies in the middle, in units of sigma,
  between the two deviations that the helper value can stand for:
  (Phi^-1(u / 2) + Phi^-1((1 + u) / 2)) / 2 with u = (helper + 1/2) / 8. No ring comes closer than 0.58 sigma to it.
* margin = min(R >> 2, 255) for R >= 0, min((-R - 1) >> 2, 255) otherwise: about 0.02 sigma a step. Rows differ by less
  than 1 % in S, so margins of different rows compare.

Search
------
Wrong bits lie near their threshold now, and the margins show it. Rings sorted by rising margin, equal margins by
ring number, have ranks 1, 2, 3, … Patterns of flipped ranks are tried in order of rising sum of ranks (the logistic
weight of ORBGRAND: Duffy, An, Medard, IEEE Trans. Signal Processing 70, 2022), within one weight in lexicographic
order of the rising ranks: (), (1), (2), (1 2), (3), (1 3), (4), (1 4), (2 3), (5), … See `flip_patterns`.

Ring numbers
------------
The array is a block of 12 x 8 tiles with two rings each, halves A (0) and B (1), which are different layouts. A
channel is a quadrant of 6 x 4 tiles: channel = 2 * (x // 6) + y // 4 for tile x 0..11, y 0..7. The four rings at the
same *place* of the channels run at once: place = half << 5 | col << 2 | row with col = x % 6 and row = y % 4, 48 valid
places in 0..61. A row of 16, which shares its mean, is a square of 4 x 4 tiles, one half:

    ring number     7   6     5        4       3   2     1   0
                   x[3:2]   half    y // 4    y[1:0]    x[1:0]
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from .layout_table import LAYOUT_ENTRIES

__all__ = [
    "BITS_BYTES",
    "CHANNELS",
    "ENROLL_READS",
    "HELPER_BITS",
    "HELPER_BYTES",
    "LAYOUT_VERSION",
    "MARGIN_MAX",
    "MAX_BUDGET",
    "MAX_RANK",
    "MODELED_LAYOUT",
    "NO_LAYOUT",
    "PLACES",
    "RINGS",
    "ROW",
    "SEARCH_BUDGET",
    "DeadRingError",
    "Layout",
    "Quantizer",
    "candidates",
    "enroll",
    "flip_patterns",
    "floorplan_id",
    "learn_layout",
    "place_of",
    "rank_order",
    "reconstruct",
    "ring_number",
    "window_clocks",
]

RINGS = 192
CHANNELS = 4
ROW = 16
"""Rings that share a mean."""
HELPER_BITS = 3
ENROLL_READS = 16
REVERSED = (0, 4, 2, 6, 1, 5, 3, 7)
"""3 bits in reverse order: a helper value is packed with its most significant bit first."""
BITS_BYTES = RINGS // 8
HELPER_BYTES = RINGS * HELPER_BITS // 8

COLUMNS, ROWS, HALVES = 6, 4, 2
"""Tiles of a channel, and rings of a tile."""
PLACES = tuple(half << 5 | col << 2 | row for col in range(COLUMNS) for row in range(ROWS) for half in range(HALVES))
"""The 48 places in the order in which they are measured."""

WINDOW_CLOCKS, WINDOW_FREQUENCY = 512, 12_000_000
"""The default window, 42.7 us: about 2300 counts at 54 MHz."""

COUNT_BITS = 16
COUNT_MAX = (1 << COUNT_BITS) - 1
FRACTION_BITS = 18
"""Layout entries and decision levels are in units of 2**-18."""
LEVEL_BITS = 13
"""Decision levels, in two's complement."""
LAYOUT_BITS = 14
"""Layout entries, in two's complement: up to 3.1 %."""
PACKED_BITS = 5
"""What the gateware has room for: so many bits of an entry, in two's complement, times a power of two."""
MARGIN_BITS, MARGIN_SHIFT = 8, 2
MARGIN_MAX = (1 << MARGIN_BITS) - 1

SEARCH_BUDGET = 4096
"""Candidates tried before a PUF counts as not reproducible."""
MAX_RANK = 47
"""Ranks that the gateware has room for; no pattern of a smaller or equal weight needs more."""
MAX_BUDGET = 21_751
"""Number of patterns with weight <= MAX_RANK."""

SIGMA_PPM = 5200
"""Spread of what remains of the deviations from the row when the layout is taken away, in parts per million: that of
the 97 measured chips of docs/puf.md. A table that is learned brings its own."""
SIGMA_PPM_MAX = 10_000
"""The outermost boundary, 1.53 sigma, must fit LEVEL_BITS."""
LEVEL_UNIT = 1 << 16
BOUNDARIES = (
    *(-100540, -75389, -58140, -44203, -32032, -20882, -10310, 0),
    *(10310, 20882, 32032, 44203, 58140, 75389, 100540),
)
"""round(2**16 Phi^-1(j / 16)), j = 1..15: boundaries between the codes j - 1 and j, in sigma."""
THRESHOLDS = (-58469, -35416, -19914, -6465, 6465, 19914, 35416, 58469)
"""round(2**16 (Phi^-1(u / 2) + Phi^-1((1 + u) / 2)) / 2), u = (helper + 1/2) / 8, in sigma."""


class DeadRingError(ValueError):
    """A ring cannot be enrolled: it stands still or its counts do not fit.

    Attributes
    ----------
    rings : tuple of int
        Numbers of the rings.
    """

    def __init__(self, rings: Sequence[int], counts: Sequence[int]):
        self.rings = tuple(rings)
        named = ", ".join(f"{ring} (sum {counts[ring]})" for ring in rings[:8]) + (", …" if len(rings) > 8 else "")
        super().__init__(
            f"cannot enroll: expected sums of {ENROLL_READS} reads in 1..{COUNT_MAX} for each ring, "
            f"but {len(rings)} of {len(counts)} are outside: {named}; check supply and clock, or replace the board"
        )


@dataclass(frozen=True)
class Layout:
    """The systematic part of the ring frequencies, the same on every board with one floorplan.

    Parameters
    ----------
    version : int
        Goes into the device record and the helper digest; 16 bits.
    entries : tuple of int
        For each ring the relative deviation from its row, in units of 2**-18, 14 bits in two's complement.

    Raises
    ------
    ValueError
        Wrong number of entries, or a value out of range.
    """

    version: int
    entries: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.version <= 0xFFFF:
            raise ValueError(f"layout version must be 0..65535, not {self.version}")
        if len(self.entries) != RINGS:
            raise ValueError(f"a layout table needs {RINGS} entries, not {len(self.entries)}")
        limit = 1 << LAYOUT_BITS - 1
        for ring, entry in enumerate(self.entries):
            if not -limit <= entry < limit:
                raise ValueError(
                    f"layout entry of ring {ring} must lie in {-limit}..{limit - 1} (units of 2**-{FRACTION_BITS}, "
                    f"{limit / (1 << FRACTION_BITS):.1%}), not {entry}: leave such a ring out of the floorplan"
                )

    @property
    def shift(self) -> int:
        """The least s, up to 9, for which every entry fits `PACKED_BITS` bits when rounded to multiples of 2**s."""
        limit, shift, most = 1 << PACKED_BITS - 1, 0, LAYOUT_BITS - PACKED_BITS
        while shift < most and not all(-limit <= _rounded(entry, shift) < limit for entry in self.entries):
            shift += 1
        return shift

    @property
    def digits(self) -> tuple[int, ...]:
        """The entries in units of 2**shift, rounded: -16..15. Above 3.0 %, 15 stands for all."""
        shift, most = self.shift, (1 << PACKED_BITS - 1) - 1
        return tuple(min(_rounded(entry, shift), most) for entry in self.entries)

    def packed(self) -> "Layout":
        """The table as the gateware holds it: every entry a multiple of 2**shift.

        A table of spread 0.4 % is rounded to 0.1 % so, with an error of 0.03 %: less than what a table learned on 97
        chips is uncertain by (0.5 % / 97^0.5).
        """
        shift = self.shift
        return Layout(self.version, tuple(digit << shift for digit in self.digits))


def _rounded(entry: int, shift: int) -> int:
    """entry / 2**shift, rounded to the nearest (half up)."""
    return entry + (1 << shift >> 1) >> shift


NO_LAYOUT = Layout(0, (0,) * RINGS)
"""No table: right for boards of which no characterized sample exists."""
MODELED_LAYOUT = Layout(2, LAYOUT_ENTRIES).packed()
"""The table of the numeric silicon model, whose boards carry the pattern `LAYOUT_ENTRIES`."""
LAYOUT_VERSION = NO_LAYOUT.version


@dataclass(frozen=True)
class Quantizer:
    """Layout table and spread; counts to bits.

    Parameters
    ----------
    layout : Layout
        Systematic part to subtract.
    sigma_ppm : int
        Spread of what remains, in parts per million; a constant of the design.
    """

    layout: Layout = NO_LAYOUT
    sigma_ppm: int = SIGMA_PPM

    def __post_init__(self) -> None:
        if not 1 <= self.sigma_ppm <= SIGMA_PPM_MAX:
            raise ValueError(f"sigma must be 1..{SIGMA_PPM_MAX} ppm, not {self.sigma_ppm}")

    @property
    def boundaries(self) -> tuple[int, ...]:
        """The 15 boundaries between the codes, in units of 2**-18."""
        return tuple(self._level(value) for value in BOUNDARIES)

    @property
    def thresholds(self) -> tuple[int, ...]:
        """The decision level of each helper value, in units of 2**-18."""
        return tuple(self._level(value) for value in THRESHOLDS)

    def _level(self, value: int) -> int:
        """sigma * value / 2**16 in units of 2**-18, rounded to the nearest (half up)."""
        scale = LEVEL_UNIT * 1_000_000
        return ((value * self.sigma_ppm << FRACTION_BITS + 1) + scale) // (2 * scale)

    def residue(self, count: int, total: int, ring: int, level: int) -> int:
        """R(level) of a ring whose row of 16 counts to `total`; see the head of this module."""
        return 16 * count - (total * ((1 << FRACTION_BITS) + self.layout.entries[ring] + level) >> FRACTION_BITS)

    def enroll(self, counts: Sequence[int]) -> tuple[bytes, bytes]:
        """Bits and helper data from sums of 16 reads.

        Parameters
        ----------
        counts : sequence of 192 int
            Sum of 16 reads of each ring.

        Returns
        -------
        bits : bytes
            24 bytes, ring i is bit i % 8 of byte i // 8. Secret.
        helper : bytes
            72 bytes, the helper value of ring i at bits 3 i … 3 i + 2, its most significant bit first, in the order in
            which the binary search finds them; bit n is bit n % 8 of byte n // 8. Public.

        Raises
        ------
        DeadRingError
            A ring stood still, or its sum exceeds 16 bits.
        ValueError
            Not 192 counts.
        """
        _check_length(counts)
        dead = [ring for ring, count in enumerate(counts) if not 0 < count <= COUNT_MAX]
        if dead:
            raise DeadRingError(dead, counts)
        boundaries, bits, helper = self.boundaries, 0, 0
        for ring, total in _with_totals(counts):
            code = 0
            for step in (8, 4, 2, 1):
                if self.residue(counts[ring], total, ring, boundaries[(code | step) - 1]) >= 0:
                    code |= step
            bits |= (code >> HELPER_BITS) << ring
            helper |= REVERSED[code & 7] << HELPER_BITS * ring
        return bits.to_bytes(BITS_BYTES, "little"), helper.to_bytes(HELPER_BYTES, "little")

    def reconstruct(self, counts: Sequence[int], helper: bytes) -> tuple[bytes, list[int]]:
        """Bits, some possibly wrong, and margins from one read.

        Parameters
        ----------
        counts : sequence of 192 int
            One read of each ring.
        helper : bytes
            72 bytes from `enroll`.

        Returns
        -------
        bits : bytes
            24 bytes, as from `enroll`.
        margins : list of 192 int
            Distance of each ring from its threshold, 0..255.

        Raises
        ------
        ValueError
            Not 192 counts of 16 bits, or not 72 bytes.
        """
        _check_length(counts)
        if len(helper) != HELPER_BYTES:
            raise ValueError(f"helper data must be {HELPER_BYTES} bytes, not {len(helper)}")
        wrong = [ring for ring, count in enumerate(counts) if not 0 <= count <= COUNT_MAX]
        if wrong:
            raise ValueError(f"counts must be 0..{COUNT_MAX}, but ring {wrong[0]} has {counts[wrong[0]]}")
        bits, margins = 0, []
        values, thresholds = int.from_bytes(helper, "little"), self.thresholds
        for ring, total in _with_totals(counts):
            residue = self.residue(counts[ring], total, ring, thresholds[REVERSED[values >> HELPER_BITS * ring & 7]])
            bits |= (residue >= 0) << ring
            margins.append(min((residue if residue >= 0 else ~residue) >> MARGIN_SHIFT, MARGIN_MAX))
        return bits.to_bytes(BITS_BYTES, "little"), margins


def _check_length(counts: Sequence[int]) -> None:
    if len(counts) != RINGS:
        raise ValueError(f"expected the counts of {RINGS} rings, got {len(counts)}")


def _with_totals(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(ring, sum of the counts of its row) for every ring."""
    for first in range(0, RINGS, ROW):
        total = sum(counts[first : first + ROW])
        for ring in range(first, first + ROW):
            yield ring, total


def enroll(counts: Sequence[int], quantizer: Quantizer | None = None) -> tuple[bytes, bytes]:
    """`Quantizer.enroll`, without a layout table unless a quantizer is given."""
    return (quantizer or Quantizer()).enroll(counts)


def reconstruct(counts: Sequence[int], helper: bytes, quantizer: Quantizer | None = None) -> tuple[bytes, list[int]]:
    """`Quantizer.reconstruct`, without a layout table unless a quantizer is given."""
    return (quantizer or Quantizer()).reconstruct(counts, helper)


def learn_layout(version: int, boards: Iterable[Sequence[int]]) -> Layout:
    """Layout table from the counts of characterized boards: the mean over the boards of 16 c / S - 1, rounded.

    Parameters
    ----------
    version : int
        Of the new table.
    boards : iterable of sequences of 192 int
        Counts (or frequencies) of each board, averaged or summed over many reads.

    Raises
    ------
    ValueError
        No board, a board without exactly 192 counts, or a row that counts nothing.
    """
    totals, number = [0] * RINGS, 0
    for number, counts in enumerate(boards, 1):
        _check_length(counts)
        for ring, total in _with_totals(counts):
            if total <= 0:
                raise ValueError(f"board {number - 1}: the row of ring {ring} counts nothing; leave this board out")
            totals[ring] += ((16 * counts[ring] << FRACTION_BITS + 8) // total) - (1 << FRACTION_BITS + 8)
    if not number:
        raise ValueError("a layout table needs the counts of at least one board, better of 30")
    return Layout(version, tuple((2 * total + (number << 8)) // (number << 9) for total in totals))


# --------------------------------------------------------------------------------------------------------------- search


def flip_patterns() -> Iterator[tuple[int, ...]]:
    """Ranks to flip, pattern by pattern, without end.

    Every finite set of ranks comes once, in order of rising sum; one successor rule, as in the gateware: take the two
    highest ranks x < r away, and fill r + x up again from x + 1; a weight ends with its single-rank pattern.

    Yields
    ------
    tuple of int
        Rising ranks, 1 = least reliable; the first pattern is empty.
    """
    low: list[int] = []
    high = 0
    yield ()
    while True:
        if low:
            rank = low.pop()
            high += rank
            rank += 1
        else:
            rank = 1
            high += 1
        while high > 2 * rank:
            low.append(rank)
            high -= rank
            rank += 1
        yield (*low, high)


def rank_order(margins: Sequence[int]) -> list[int]:
    """Ring numbers by rising margin, equal margins by ring number: entry 0 has rank 1."""
    return sorted(range(len(margins)), key=lambda ring: (margins[ring], ring))


def candidates(bits: bytes, margins: Sequence[int], budget: int = SEARCH_BUDGET) -> Iterator[bytes]:
    """Candidates for the enrolled bits, the likeliest first.

    Parameters
    ----------
    bits, margins
        From `reconstruct`.
    budget : int
        Number of candidates, 1..MAX_BUDGET; the first is `bits` itself.
    """
    if not 1 <= budget <= MAX_BUDGET:
        raise ValueError(f"the search budget must be 1..{MAX_BUDGET} candidates, not {budget}")
    order, value = rank_order(margins), int.from_bytes(bits, "little")
    for pattern in islice(flip_patterns(), budget):
        yield (value ^ sum(1 << order[rank - 1] for rank in pattern)).to_bytes(len(bits), "little")


# --------------------------------------------------------------------------------------------------------------- places


def ring_number(channel: int, place: int) -> int:
    """Ring 0..191 at a place of a channel; see the head of this module.

    Raises
    ------
    ValueError
        No such channel or place.
    """
    half, col, row = place >> 5, place >> 2 & 7, place & 3
    if not 0 <= channel < CHANNELS or not 0 <= half < HALVES or col >= COLUMNS:
        raise ValueError(
            f"no ring at channel {channel}, place {place}: channels are 0..{CHANNELS - 1}, "
            f"places half << 5 | col << 2 | row with half 0..1, col 0..{COLUMNS - 1}, row 0..{ROWS - 1}"
        )
    x = (channel >> 1) * COLUMNS + col
    return (x >> 2) << 6 | half << 5 | (channel & 1) << 4 | row << 2 | (x & 3)


def place_of(ring: int) -> tuple[int, int]:
    """(channel, place) of a ring; the inverse of `ring_number`."""
    if not 0 <= ring < RINGS:
        raise ValueError(f"ring must be 0..{RINGS - 1}, not {ring}")
    x = (ring >> 6) << 2 | ring & 3
    half, top, row = ring >> 5 & 1, ring >> 4 & 1, ring >> 2 & 3
    return x // COLUMNS << 1 | top, half << 5 | x % COLUMNS << 2 | row


def window_clocks(frequency: int) -> int:
    """System clocks of the default window: 512 at 12 MHz, 1024 at 24 MHz.

    Parameters
    ----------
    frequency : int
        System clock in hertz, 1..48 MHz.
    """
    if not 1_000_000 <= frequency <= 48_000_000:
        raise ValueError(f"the system clock must be 1 000 000 to 48 000 000 Hz, not {frequency}")
    return (frequency * WINDOW_CLOCKS + WINDOW_FREQUENCY // 2) // WINDOW_FREQUENCY


def floorplan_id(text: str) -> bytes:
    """8 bytes that name ring positions and ring variant: the head of Ascon-Hash256 of their description.

    Gateware that keeps the description keeps the keys of its boards.
    """
    from .ascon import hash256  # not needed for anything else here

    return hash256(text.encode())[:8]
