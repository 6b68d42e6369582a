"""What a person reads off the display of a virtual board: two digits at a time, of a PIN that comes round and round."""

from collections.abc import Iterable

from ringpair_protocol.binding import PIN_DIGITS, SEGMENTS

PAUSE_S = 1.0
"""No pause is longer."""
BETWEEN_S = 0.1, 0.5
"""The pauses between the pairs of a PIN; that behind the last one is longer, that before a new PIN shorter."""
DIGITS = {lines: str(digit) for digit, lines in enumerate(SEGMENTS)}


def digits_of(seen: int) -> str:
    """The two digits that are lit, from the segments of the left one and, 8 bits up, of the right one."""
    return "".join(DIGITS.get(lines, "?") for lines in (seen & 0xFF, seen >> 8))


def read_pins(changes: Iterable[tuple[int, int]], clock_hz: int) -> list[str]:
    """The PINs that were shown from the first to the last pair, in order.

    Parameters
    ----------
    changes
        Cycle, and what is seen from then on; 0 for a blank display, which it is before.
    clock_hz
        Cycles of a second.
    """
    shortest, longest = (clock_hz * seconds for seconds in BETWEEN_S)
    pins: list[str] = []
    digits, blank_at = "", float("-inf")
    for cycle, seen in changes:
        if not seen:
            blank_at = cycle
            continue
        digits = (digits if shortest < cycle - blank_at < longest else "") + digits_of(seen)
        if len(digits) == PIN_DIGITS:
            pins.append(digits)
    return pins
