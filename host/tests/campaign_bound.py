"""Campaigns on the compiled device that can be bound; `scripts/campaign.py` runs them."""

from host.tests import bound_cuts, campaign_device
from host.tests.bound_story import BoundStory
from host.tests.worthless_calls import Calls, recorded
from scripts.campaign import Trial


def steps(trial: Trial) -> None:
    """Model against device: stories of a device that can be bound, its services, and a device paired with it."""
    campaign_device.steps(trial, BoundStory)


def cuts(trial: Trial) -> None:
    """Power cuts in all that writes because of a controller."""
    campaign_device.cuts(trial, bound_cuts.OPERATIONS)


def frames(trial: Trial) -> None:
    """Random and mutated messages of controllers, in every state of a run."""
    campaign_device.frames_on(trial, Calls, recorded())
