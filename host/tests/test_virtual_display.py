"""What is read off a virtual board's display."""

from ringpair.virtual.display import digits_of, read_pins
from ringpair_protocol.binding import SEGMENTS

CLOCK = 1000


def seen(pair: str) -> int:
    left, right = (SEGMENTS[int(digit)] for digit in pair)
    return left | right << 8


def shown(pin: str, start: int = 0, pause: int = 350) -> list[tuple[int, int]]:
    """Changes of a display that shows a PIN once: 4 turns of 1.4 s, the last one with the longer pause."""
    changes = []
    for turn in range(4):
        at = start + 1400 * turn
        lit = 700 if turn == 3 else 1400 - pause
        changes += [(at, seen(pin[2 * turn : 2 * turn + 2])), (at + lit, 0)]
    return changes


def test_digits():
    assert [digits_of(seen(f"{n}{7 - n}")) for n in range(8)] == [f"{n}{7 - n}" for n in range(8)]
    assert digits_of(0x7F | SEGMENTS[3] << 8) == "?3"


def test_rounds():
    assert read_pins(shown("71006007"), CLOCK) == ["71006007"]
    assert read_pins(shown("71006007")[:-2], CLOCK) == []
    assert read_pins(shown("11111111") + shown("11111111", 5600), CLOCK) == ["11111111"] * 2
    assert read_pins(shown("71006007")[2:] + shown("71006007", 5600), CLOCK) == ["71006007"]


def test_another_pin_in_the_middle():
    first = [change for change in shown("01234567") if change[0] < 3000][:-1]
    assert read_pins([*first, (3200, 0), *shown("76543210", 3201)], CLOCK) == ["76543210"]
