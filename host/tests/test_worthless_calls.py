"""Controllers' messages that are worth nothing, in every state of the compiled device; see `worthless_calls.py`."""

import random

import pytest

from host.tests import campaign_bound, worthless_calls
from host.tests.worthless_calls import SCENES, Calls
from scripts.campaign import Trial

FRAMES = 40


@pytest.fixture(scope="module")
def recorded() -> list[bytes]:
    return worthless_calls.recorded()


@pytest.mark.parametrize("state", SCENES)
def test_worthless_calls(state: str, recorded: list[bytes]) -> None:
    line = Calls(random.Random(state), state, recorded)
    assert sum(line.one() for _ in range(FRAMES)) > FRAMES / 3
    assert line.finish() == 1
    line.twin.close()


@pytest.mark.slow
def test_frames_in_all_states() -> None:
    trial = Trial(2_500, seed=1)
    campaign_bound.frames(trial)
    assert trial.tried >= 2_500
    assert set(SCENES) <= set(trial.notes)
    assert not trial.lost
