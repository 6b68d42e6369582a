"""The server's side of enrollment and pairing."""

from collections.abc import Callable

import pytest
from ringpair_protocol.ascon import WrongTag
from ringpair_protocol.messages import E1, E2, E3, FLAG_RECIPIENT_LOW, LENGTHS, PUZZLE, RESET, REVOKE
from ringpair_protocol.pairing import (
    MAX_INDEX,
    DeviceEntry,
    finish_enrollment,
    make_puzzles,
    make_reset,
    make_revocation,
    next_wrap_key,
    sealed_index,
    start_enrollment,
    unseal,
)

LOW = DeviceEntry(b"\x00\xff......", b"L" * 32, 3)
HIGH = DeviceEntry(b"\x01\x00......", b"H" * 32, 70_000)
PAIR_KEY = bytes(range(32))


def test_enrollment() -> None:
    e1 = start_enrollment(b"N" * 16)
    assert e1 == bytes([E1]) + b"N" * 16
    assert start_enrollment() != start_enrollment()
    entry, e3 = finish_enrollment(e1[1:], bytes([E2]) + LOW.device_id + LOW.wrap_key)
    assert (entry, len(e3), e3[0]) == (DeviceEntry(LOW.device_id, LOW.wrap_key, 0), LENGTHS[E3], E3)
    other, other_e3 = finish_enrollment(b"M" * 16, bytes([E2]) + LOW.device_id + LOW.wrap_key)
    assert other == entry
    assert other_e3 != e3


@pytest.mark.parametrize("turned", [False, True])
def test_puzzles(turned: bool) -> None:
    given = (HIGH, LOW) if turned else (LOW, HIGH)
    *puzzles, after_a, after_b = make_puzzles(*given, PAIR_KEY)
    for (mine, peer), puzzle, after in zip((given, given[::-1]), puzzles, (after_a, after_b), strict=True):
        assert len(puzzle) == LENGTHS[PUZZLE] == 62
        assert puzzle[0] == PUZZLE
        assert puzzle[1] == (FLAG_RECIPIENT_LOW if mine is LOW else 0), "ids compare as big-endian strings"
        assert puzzle[2:6] == mine.wrap_index.to_bytes(4, "little")
        assert sealed_index(puzzle) == mine.wrap_index
        assert puzzle[6:14] == peer.device_id
        assert PAIR_KEY not in puzzle
        assert unseal(puzzle, mine.wrap_key, mine.device_id) == PAIR_KEY
        assert after == DeviceEntry(mine.device_id, next_wrap_key(mine.wrap_key), mine.wrap_index + 1)
        for key, own in ((after.wrap_key, mine.device_id), (mine.wrap_key, peer.device_id)):
            with pytest.raises(WrongTag):
                unseal(puzzle, key, own)


def test_each_pairing_has_a_new_key() -> None:
    first, second = make_puzzles(LOW, HIGH)[0], make_puzzles(LOW, HIGH)[0]
    assert first[:14] == second[:14]
    assert first[14:] != second[14:]


def test_every_byte_of_a_sealed_message_counts() -> None:
    revocation, after = make_revocation(LOW, HIGH.device_id)
    assert after == LOW.successor()
    assert (revocation[0], revocation[6:14], len(revocation)) == (REVOKE, HIGH.device_id, 30)
    reset = make_reset(LOW)
    assert (reset[0], reset[6:14], len(reset)) == (RESET, LOW.device_id, 30)
    for message in (revocation, reset, make_puzzles(LOW, HIGH, PAIR_KEY)[0]):
        assert unseal(message, LOW.wrap_key, LOW.device_id) in (b"", PAIR_KEY)
        for k in range(len(message)):
            with pytest.raises(WrongTag):
                unseal(message[:k] + bytes([message[k] ^ 1]) + message[k + 1 :], LOW.wrap_key, LOW.device_id)


def test_the_wrap_key_is_not_printed() -> None:
    assert repr(LOW) == "DeviceEntry(00ff2e2e2e2e2e2e, wrap_index=3)"


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: DeviceEntry(bytes(7), bytes(32)), "a device id has 8 bytes, not 7"),
        (lambda: DeviceEntry(bytes(8), bytes(31)), "a wrap key has 32 bytes, not 31"),
        (lambda: DeviceEntry(bytes(8), bytes(32), MAX_INDEX + 1), "a wrap index is 0 to 4294967295"),
        (lambda: make_puzzles(DeviceEntry(bytes(8), bytes(32), MAX_INDEX), HIGH), "enroll the device again"),
        (lambda: make_puzzles(LOW, LOW), "cannot be paired with itself: 00ff"),
        (lambda: make_puzzles(LOW, HIGH, bytes(16)), "a pair key has 32 bytes, not 16"),
        (lambda: make_revocation(LOW, bytes(9)), "a device id has 8 bytes, not 9"),
        (lambda: start_enrollment(bytes(8)), "the nonce of E1 has 16 bytes, not 8"),
        (lambda: finish_enrollment(bytes(16), bytes([E2]) + bytes(39)), "E2 has 41 bytes and begins with 0x52, not 40"),
        (lambda: finish_enrollment(bytes(16), bytes([E3]) + bytes(40)), "begins with 0x52, not 41 bytes 53"),
    ],
)
def test_wrong_input_is_named(act: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        act()
