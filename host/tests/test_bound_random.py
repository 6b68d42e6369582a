"""Random steps on a compiled device that can be bound; the rules are those of `bound_story.py`."""

import pytest

from host.tests import campaign_bound
from scripts.campaign import Trial


@pytest.mark.parametrize(("steps", "seed"), [(200, 1), pytest.param(1200, 2, marks=pytest.mark.slow)])
def test_steps(steps: int, seed: int) -> None:
    """`make campaign` goes on from there."""
    trial = Trial(steps, seed=seed)
    campaign_bound.steps(trial)
    print(trial.notes)
    assert trial.tried == steps
    assert not trial.lost
    assert trial.notes["bindings"] > 0
    if steps > 1000:
        assert min(trial.notes[name] for name in ("controllers' sessions", "controllers' texts", "unbindings")) > 0
