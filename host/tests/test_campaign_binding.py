"""A sample of the campaigns on bindings, and that they lose what is to be lost."""

from unittest.mock import patch

import pytest
from ringpair_protocol import ascon, curve25519

from host.tests import campaign_binding
from scripts.campaign import Trial


@pytest.mark.parametrize(("campaign", "goal"), [(campaign_binding.messages, 200), (campaign_binding.curve, 40)])
def test_a_sample(campaign, goal):
    trial = Trial(goal, seed=1)
    campaign(trial)
    assert trial.tried == goal
    assert trial.lost == []


def test_signatures_that_are_not_looked_at(monkeypatch):
    """And tags that are not, either: either one alone stops an alteration."""
    monkeypatch.setattr(curve25519, "verify", lambda *_: True)
    decrypt = ascon.aead128_decrypt

    def lenient(*arguments):
        with patch.object(ascon, "compare_digest", lambda *_: True):
            return decrypt(*arguments)

    monkeypatch.setattr("ringpair_protocol.channel.aead128_decrypt", lenient)
    trial = Trial(120, seed=2)
    campaign_binding.messages(trial)
    assert trial.lost


def test_a_replay_that_is_taken(monkeypatch):
    """A session that opens everything."""
    monkeypatch.setattr("ringpair_protocol.channel.Session.open", lambda self, message: (self, b"\x39\x05"))
    trial = Trial(60, seed=3)
    campaign_binding.messages(trial)
    assert trial.lost


def test_a_wrong_curve(monkeypatch):
    monkeypatch.setattr(curve25519, "A", 486663)
    trial = Trial(1, seed=4)
    campaign_binding.curve(trial)
    assert trial.lost
