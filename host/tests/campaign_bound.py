"""Campaigns on the compiled device that can be bound; `scripts/campaign.py` runs them."""

from host.tests import campaign_device
from host.tests.bound_story import BoundStory
from scripts.campaign import Trial


def steps(trial: Trial) -> None:
    """Model against device: stories of a device that can be bound, its services, and a device paired with it."""
    campaign_device.steps(trial, BoundStory)
