"""Power cuts and the journal's rollover: the compiled device against the model, which starts from what was left.

The operations, and what must be true after a cut, are those of `cuts.py`. Here some cuts of each; all of them in
`make slow`; at random moments, and cut again while the device tidies up, in `make campaign`.
"""

import pytest
from ringpair_protocol.admin import Opcode, PeerState
from ringpair_protocol.pairing import make_revocation
from ringpair_protocol.records import PEER_BASE, SLOTS_PER_SECTOR

from host.tests import campaign_device
from host.tests.cuts import ERASE, OPERATIONS, PROGRAM, counts, cut, epoch, recovers
from host.tests.rig_scenes import establish, scene
from scripts.campaign import Trial

FRACTIONS = (0.0, 0.5, 0.97)
"""Of a program or erase: it has not begun to change anything, it is in the middle, it is almost through."""

COMMANDS = {
    "commit as responder, same page": (2, 0),
    "commit as responder, next page": (2, 0),
    "commit as responder, next sector": (3, 1),
    "commit as initiator, same page": (2, 0),
    "commit as initiator, next page": (2, 0),
    "commit as initiator, next sector": (3, 1),
    "rollover to the first sector": (3, 1),
    "import of a puzzle": (6, 4),
    "import of a puzzle for a used place": (6, 4),
    "import of a revocation": (3, 0),
    "enrollment": (4, 5),
    "enrollment over leftovers": (0, 3),
    "factory reset": (0, 4),
}
"""Programs and erases of each operation: written down, so that one more or less is noticed."""

QUICK = [name for name in OPERATIONS if "enrollment" not in name and name != "factory reset"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_commands_of_an_operation(operation: str) -> None:
    assert counts(operation) == dict(zip((PROGRAM, ERASE), COMMANDS[operation], strict=True))


@pytest.mark.parametrize("operation", QUICK)
def test_cut(operation: str) -> None:
    """Each command of the operation, at one of three moments."""
    for kind, number in zip((PROGRAM, ERASE), COMMANDS[operation], strict=True):
        for ordinal in range(1, number + 1):
            cut(operation, kind, ordinal, FRACTIONS[ordinal % 3])


@pytest.mark.parametrize("number", [3, 4])
def test_cut_at_the_end_of_an_enrollment(number: int) -> None:
    cut("enrollment", PROGRAM, number, 0.6)


@pytest.mark.parametrize("fraction", [0.035, 0.2])
def test_cut_early_in_a_reset(fraction: float) -> None:
    """Few bits of the plain record have gone, or so many that none is left to be read."""
    cut("factory reset", ERASE, 1, fraction)


@pytest.mark.parametrize("fraction", [0.94, 0.97])
def test_cut_late_in_an_erase(fraction: float) -> None:
    """Few bits of old slots are left, blank ones between them: device and model find the same last one."""
    cut("rollover to the first sector", ERASE, 1, fraction)


@pytest.mark.slow
def test_cut_everywhere() -> None:
    """Before and behind every flash command of every operation, and at two random moments inside."""
    trial = Trial(1, seed=1)
    campaign_device.cuts(trial)
    print(f"{trial.tried} cuts: {trial.notes}")
    assert not trial.lost
    assert trial.tried >= 4 * sum(map(sum, COMMANDS.values()))


def test_cut_again_while_the_cut_is_tidied_up() -> None:
    """The old slot still there, or a torn new one; the power fails once more in the zeros at power-up."""
    for number in (1, 2):
        for fraction in FRACTIONS:
            twin, (far,) = scene(sessions=4)
            twin.arm(PROGRAM, number, 0.5)
            assert twin.cut(far.start(), peer=True)
            assert twin.boot_cut(PROGRAM, 1, fraction), "nothing was tidied up"
            twin.boot()
            assert epoch(twin) in (4, 5)
            recovers(twin, far)


def test_rollover_through_all_sectors() -> None:
    """Three sessions before the end of each of the four sectors, and beyond; once more around."""
    for sector in range(5):
        sessions = SLOTS_PER_SECTOR * (sector + 1) - 3
        twin, (far,) = scene(sessions=sessions)
        for number in range(5):
            establish(twin, far)
            if number == 2:
                twin.boot()
        assert epoch(twin) == sessions + 5
        message, _ = make_revocation(twin.entry, far.entry.device_id)
        twin.command(Opcode.IMPORT, message)
        assert twin.command(Opcode.PEER, b"\0")[0] == PeerState.REVOKED


def test_slot_that_does_not_keep() -> None:
    """A bit of the next slot is gone already: the device tries it, zeroes it, and goes to the next sector."""
    twin, (far,) = scene(sessions=5)
    twin.device.flash[PEER_BASE + 2 * 256 + 12 + 30] = twin.chip.memory[PEER_BASE + 2 * 256 + 12 + 30] = 0x00
    establish(twin, far)
    assert bytes(twin.device.flash[PEER_BASE + 0x1000 : PEER_BASE + 0x100C]) == bytes(
        twin.device.flash[PEER_BASE : PEER_BASE + 12]
    )
    twin.boot()
    assert epoch(twin) == 6
