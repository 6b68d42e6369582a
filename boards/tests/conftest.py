"""One build of the ring array for all tests here; cached by content, so a second run takes seconds."""

from pathlib import Path

import pytest
from ringpair_boards.build import build
from ringpair_boards.harness_top import RingHarness

BUILDS = Path(__file__).resolve().parents[2] / "build" / "tests"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a minute")


@pytest.fixture(scope="session")
def folder():
    """Where the ring array was built for the iCEBreaker."""
    return BUILDS / "icebreaker"


@pytest.fixture(scope="session")
def report(folder):
    """Report of that build."""
    return build("icebreaker", "characterize", folder=folder, top=RingHarness)
