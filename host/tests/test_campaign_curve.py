"""A sample of the campaign on the curve engine, and that it loses what is to be lost."""

import pytest

from host.tests import campaign_curve
from host.tests.campaign_curve import Against, curve_engine
from host.tests.curve_bench import Sequences, written
from scripts.campaign import Trial


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Three rounds of the iteration instead of a thousand."""
    monkeypatch.setattr(campaign_curve, "ROUNDS", 3)


def test_a_sample():
    trial = Trial(16, seed=1)
    curve_engine(trial)
    assert trial.tried >= 16
    assert trial.lost == []
    assert trial.notes["iterated rounds"] == 3
    assert {"x25519", "key", "sign", "verify", "verify a wrong one"} <= set(trial.notes)


def test_a_round_that_is_not_the_published_one(monkeypatch):
    monkeypatch.setitem(campaign_curve.ITERATED, 2, "00" * 32)
    trial = Trial(2, seed=1)
    curve_engine(trial)
    assert len(trial.lost) == 1
    assert "not the published" in trial.lost[0]


def test_an_engine_that_is_wrong(monkeypatch):
    """Every result is looked at."""
    against = Against(Trial(9, seed=1), written())
    for name in ("x25519", "public_key", "sign", "verify"):
        monkeypatch.setattr(Sequences, name, spoiled(getattr(Sequences, name)))
    against.x25519(against.number(), against.number())
    against.ed25519()
    lost = {loss.partition("(")[0] for loss in against.trial.lost}
    assert lost == {"x25519", "key", "sign", "verify", "verify a wrong one"}


def spoiled(function):
    """Another verdict, or one bit of the result flipped."""

    def other(*values):
        result = function(*values)
        return not result if isinstance(result, bool) else bytes([result[0] ^ 1]) + result[1:]

    return other
