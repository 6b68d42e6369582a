"""What reads the bytes of others takes good input, and refuses anything else with an error of its own.

A little of what `make campaign` does for hours under libFuzzer (`fuzz.py`).
"""

import random

import pytest

from host.tests.parsers import PARSERS, attempt
from host.tests.worthless import mutated

QUICK = 150
"""Mutated inputs of a fast parser; slower ones get fewer."""


@pytest.mark.parametrize("name", PARSERS)
def test_good_input_is_taken(name: str) -> None:
    seeds = PARSERS[name].seeds()
    assert any(attempt(name, seed) for seed in seeds) or name in SEALED


SEALED = ("records in flash",)
"""Good ones would need a key."""


@pytest.mark.parametrize("name", PARSERS)
def test_mutated_input(name: str) -> None:
    source, seeds = random.Random(name), PARSERS[name].seeds()
    for _ in range(max(4, QUICK // PARSERS[name].cost)):
        attempt(name, mutated(source, source.choice(seeds), limit=1 << 20))
    for data in (b"", b"\0", b"\xff" * 200, b"[]", b"null", b"{}", b"9" * 5000, b"[" * 5000):
        attempt(name, data)
