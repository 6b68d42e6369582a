"""Bindings and controllers' sessions of the reference model, in every order of events within bounds; bugs that show."""

import pytest
from ringpair_protocol.binder import Binder

from formal.prove import mutant
from protocol.tests.explore_bindings import Explorer

ALL = {"answered", "bound", "button", "last try", "opened", "unbound"}


def test_every_order_within_bounds():
    """Few runs with all that can come of them, and one run often enough to be locked out."""
    whole, often = Explorer(draws=2, runs=2), Explorer(draws=4, runs=1)
    assert whole.run() > 5000
    assert often.run() > 5000
    assert whole.reached | often.reached == ALL


@pytest.mark.slow
def test_every_order_within_wider_bounds():
    explorer = Explorer(draws=3, runs=2)
    assert explorer.run() > 50_000
    assert explorer.reached == ALL


@pytest.mark.filterwarnings("ignore:can't resolve package:ImportWarning")  # of a module made from text
@pytest.mark.parametrize(
    ("old", "new", "what", "draws", "runs"),
    [
        # a B2 leaves, and only then the try is written: here, not at all
        ("pin_tries=device.pin_tries % PIN_TRIES + 1", "pin_tries=device.pin_tries", "an answer without a try", 2, 1),
        ("device.pin_tries >= PIN_TRIES and not self.button()", "False", "a try came back|more answers", 4, 1),
        ("not compare_digest(run.confirmed, run.binding.tag_c)", "False", "without a right Ta", 2, 2),
        ("replace(device, pin_tries=0, next_pair=device.next_pair + 1)", "replace(device, pin_tries=0)", "index", 2, 2),
        # a run that does not end takes its S3 again
        (
            "run, self.run = self.run, None\n        if not isinstance(run, OpenRun)",
            "run = self.run\n        if not isinstance(run, OpenRun)",
            "an old message",
            2,
            2,
        ),
        (
            "ControllerTable(keys).add(Controller(run.binding.sid[:8], service_key), device.next_pair)",
            "pass",
            "B4 without",
            2,
            2,
        ),
    ],
)
def test_a_bug_is_noticed(old, new, what, draws, runs):
    with pytest.raises(AssertionError, match=what):
        Explorer(draws, runs, mutant(Binder, old, new)).run()
