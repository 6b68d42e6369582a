"""A sample of the campaign on false alarms, and that it counts as the device's health tests do."""

import numpy as np
import pytest
from ringpair_protocol.health import WINDOW, HealthTests

from host.tests import campaign_noise
from host.tests.campaign_noise import false_alarms, proportions, runs
from scripts.campaign import Trial


def test_a_sample():
    trial = Trial(3 * campaign_noise.CHUNK, seed=1)
    false_alarms(trial)
    assert trial.lost == []
    assert trial.tried == trial.goal
    assert int(trial.notes[f"{campaign_noise.OFTEN[0]} like the first of {WINDOW}"].split()[0]) > 5


@pytest.mark.parametrize("seed", range(4))
def test_it_counts_what_the_device_counts(seed):
    """The first sample at which the reference model alarms is where the first run or window here is long enough."""
    bits = np.random.default_rng(seed).random(64 * WINDOW) < campaign_noise.LIKELY
    lengths, found = runs(bits), proportions(bits)
    assert lengths.sum() == len(bits)
    longest, most = int(lengths.max()), int(found.max())
    first = int(lengths.argmax())
    expected = {
        (longest, WINDOW + 1): int(lengths[:first].sum()) + longest - 1,
        (longest + 1, WINDOW + 1): None,
        (longest + 1, most + 1): None,
    }
    for (repetition, proportion), at in expected.items():
        assert alarm(bits, repetition, proportion) == at
    assert alarm(bits, longest + 1, most) // WINDOW == int(found.argmax())


def alarm(bits, repetition, proportion):
    tests = HealthTests(repetition, proportion)
    for k, bit in enumerate(bits):
        tests.feed(int(bit))
        if tests.alarm:
            return k
    return None


@pytest.mark.parametrize("factor", [0.5, 2])
def test_other_numbers_than_expected(monkeypatch, factor):
    """Too many alarms are noticed, and too few."""
    probability = campaign_noise.proportion_probability
    monkeypatch.setattr(campaign_noise, "proportion_probability", lambda cutoff: factor * probability(cutoff))
    trial = Trial(12 * campaign_noise.CHUNK, seed=2)
    false_alarms(trial)
    assert f"{campaign_noise.OFTEN[0]} like the first" in trial.lost[0]
