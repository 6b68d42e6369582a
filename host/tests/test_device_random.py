"""Random steps on two compiled devices, each with its model beside it; the rules are those of `story.py`.

``RINGPAIR_EXAMPLES`` sets how many runs there are (default 6), each of 25 steps.
"""

import os
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from host.tests import campaign_device
from host.tests.rules import T
from host.tests.story import RULES, Story
from scripts.campaign import Trial

EXAMPLES = int(os.environ.get("RINGPAIR_EXAMPLES", "6"))


class Drawn:
    """Choices that Hypothesis makes, and shrinks."""

    def __init__(self, source: st.DataObject):
        self.source = source

    def number(self, low: int, high: int) -> int:
        return self.source.draw(st.integers(low, high))

    def pick(self, values: Sequence[T]) -> T:
        return values[self.number(0, len(values) - 1)]

    def data(self, low: int, high: int) -> bytes:
        return self.source.draw(st.binary(min_size=low, max_size=high))


class TwoDevices(RuleBasedStateMachine):
    """All rules of the story."""

    story: Story | None = None

    @initialize()
    def start(self) -> None:
        self.story = Story()

    def teardown(self) -> None:
        if self.story:
            self.story.end()
            self.story.close()


def _add(name: str) -> None:
    def step(self: TwoDevices, source: st.DataObject) -> None:
        self.story.play(name, Drawn(source))

    step.__name__ = name
    can_be_played = RULES[name][2]
    setattr(TwoDevices, name, precondition(lambda self: can_be_played(self.story))(rule(source=st.data())(step)))


for name in RULES:
    _add(name)

TestTwoDevices = TwoDevices.TestCase
TestTwoDevices.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize="RINGPAIR_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
def test_twenty_thousand_steps() -> None:
    """The same rules, drawn by a generator; `make campaign` goes on from there."""
    trial = Trial(20_000, seed=1)
    campaign_device.steps(trial)
    assert trial.tried >= 20_000
    assert not trial.lost
