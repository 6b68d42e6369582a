"""A sample of the campaigns of keys, and that they notice a key that is lost."""

import os

import numpy as np
import pytest
from ringpair.virtual import Design, build
from ringpair_protocol import puf

from host.tests import campaign_keys
from host.tests.campaign_keys import Bench, Count, interval, modeled
from scripts.campaign import Trial


def test_modeled_boards_in_all_weathers():
    trial = Trial(30, seed=1)
    campaign_keys.weather(trial)
    assert (trial.tried, trial.lost) == (30, [])
    assert (trial.notes["boards"], trial.notes["rate of lost keys"]) == (2, "0 [0, 0.095]")
    assert trial.notes["most cycles"] > 48 * (512 + 35)
    assert trial.notes["most tries"] >= 1


def test_a_lost_key_is_told():
    """Keys on other silicon: each is lost, wherever the campaign is."""
    trial = Trial(3, seed=1)
    count = Count(trial)
    with count.board("board 5", Bench(build(Design()), 5, modeled(5))):
        count.keys((f"silicon {seed}", modeled(seed)) for seed in (5, 6, 5, 7))
    assert trial.lost == ["the key of board 5, silicon 6"]
    assert (trial.tried, trial.notes["boards"]) == (3, 1)
    assert trial.notes["rate of lost keys"] == "0.33 [0.0084, 0.91]"
    assert trial.notes["of boards"].startswith("1 [0.05, 1]")


def test_intervals():
    assert interval(0, 8148) == pytest.approx((0, 3.676e-4), rel=1e-3)  # 1 - 0.05 ** (1 / 8148)
    assert interval(1, 10) == pytest.approx((0.00253, 0.44502), rel=1e-3)
    assert interval(10, 10) == pytest.approx((0.7411, 1), rel=1e-3)


def test_tables_are_not_learned_on_the_chips_that_they_judge(tmp_path):
    """A pattern that one half of the chips has is in the table of the other half."""
    rng = np.random.default_rng(3)
    folds = campaign_keys.fold_of(np.arange(20), 2)
    frequency = 2e8 * (1 + 0.005 * rng.standard_normal((20, 192, 1)) + 1e-4 * rng.standard_normal((20, 192, 4)))
    frequency[folds == 0, 7] *= 1.02
    np.savez(tmp_path / "chips.npz", freq_hz=frequency)
    tables = campaign_keys.tables_of(tmp_path / "chips.npz")
    share = [quantizer.layout.entries[7] / (1 << puf.FRACTION_BITS) for quantizer in tables]
    assert share[0] < 0.006 < 0.012 < share[1]
    assert len({quantizer.layout.version for quantizer in tables}) == 2
    assert all(0.8 < quantizer.sigma_ppm / 5000 < 1.5 for quantizer in tables)


@pytest.mark.slow
def test_measured_chips():
    if not os.environ.get("RINGPAIR_RO_DATA"):
        pytest.skip("RINGPAIR_RO_DATA (folder of spartan3e_ro_dev97.npz) is not set")
    trial = Trial(3 * 84, seed=1)
    campaign_keys.measured(trial)
    assert (trial.tried, trial.lost, trial.notes["boards"]) == (252, [], 3)
