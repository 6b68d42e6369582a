"""What reads the bytes of others takes good input, and refuses anything else with an error of its own.

A little of what `make campaign` does for hours under libFuzzer (`fuzz.py`).
"""

import random

import pytest
from ringpair_protocol.admin import Event

from host.tests.parsers import EVENTS, LABEL, PARSERS, PUZZLE, attempt
from host.tests.worthless import mutated

QUICK = 150
"""Mutated inputs of a fast parser; slower ones get fewer."""


@pytest.mark.parametrize("name", PARSERS)
def test_good_input_is_taken(name: str) -> None:
    for seed in PARSERS[name].seeds():
        assert attempt(name, seed) or name in SEALED


SEALED = ("records in flash",)
"""Good ones would need a key."""

EXACT = {
    "events of a device": [event for event in EVENTS if event[0] not in (Event.PEER_OUT, Event.TEXT)],
    "puzzles and revocations": [PUZZLE],
    "labels": [LABEL.encode()],
} | {
    name: PARSERS[name].seeds()
    for name in (
        "identity of a device",
        "status of a device",
        "counts of the characterization",
        "sealed messages",
        "E2 of an enrollment",
    )
}
"""What has one length, and no other."""


@pytest.mark.parametrize("name", EXACT)
def test_one_byte_more_or_less_is_refused(name: str) -> None:
    for seed in EXACT[name]:
        assert attempt(name, seed)
        for data in (seed[:-1], seed + b"\0"):
            assert not attempt(name, data), f"{data.hex()} was taken"


def test_every_character_of_a_label_counts() -> None:
    for place in range(len(LABEL)):
        typo = LABEL[:place] + ("1" if LABEL[place] != "1" else "2") + LABEL[place + 1 :]
        assert not attempt("labels", typo.encode()), f"{typo} was taken"


@pytest.mark.parametrize("name", PARSERS)
def test_mutated_input(name: str) -> None:
    source, seeds = random.Random(name), PARSERS[name].seeds()
    for _ in range(max(4, QUICK // PARSERS[name].cost)):
        attempt(name, mutated(source, source.choice(seeds), limit=1 << 20))
    for data in (b"", b"\0", b"\xff" * 200, b"[]", b"null", b"{}", b"9" * 5000, b"[" * 5000):
        attempt(name, data)
