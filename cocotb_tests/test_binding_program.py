"""The program of the profile ``FULL``, run with models around it, against the reference model: the tests of the model's
bindings and sessions once more, each step on both, every frame and every byte of flash and secrets compared.
"""

import inspect

import pytest
from ringpair_protocol import messages as msg
from ringpair_protocol.admin import DeviceStateCode, Event
from ringpair_protocol.derivations import RANDOM
from ringpair_protocol.device import DeviceModel, Out, Port
from ringpair_protocol.nor import NorFlash, Worn
from ringpair_protocol.records import DEVICE_BASE

from cocotb_tests.program_board import ProgramBoard, Waits
from protocol.tests import rig, rig_binding, test_binding, test_binding_attacks

JEDEC = bytes.fromhex("ef4015")


class Both(DeviceModel):
    """The model, and the program beside it."""

    def __init__(self, puf, noise, flash, identity):
        super().__init__(puf, noise, flash, identity, JEDEC)
        self.chip = NorFlash(bytearray(flash.chip.memory), jedec=JEDEC)
        self.program = ProgramBoard(identity, puf, self.chip, noise)
        self.draws = []

    def _random(self):
        self._require_noise()
        return self.draws.pop(0)

    def _both(self, outs, model):
        found = [Out(Port(side), payload) for side, payload in outs]
        sent = [out.payload[out.payload[0] == Event.PEER_OUT :] for out in found]
        nonces = [message[1:17] + bytes(16) for message in sent if message[0] in (msg.M1, msg.M2)]
        self.draws = nonces or [RANDOM(raw=raw)["random"] for raw in self.program.draws]
        expected = model()
        assert found == expected, f"{found} is not {expected}"
        assert self.chip.memory == self.vault.flash.chip.memory
        v = self.program.v
        session = [v.session] if self.party.session or self.party.run or self._enrollment else []
        for field in v.operation_secrets + (() if session else v.session_secrets):
            assert not any(self.program.pad(field)), f"{field.name} is left"
        assert not any(map(any, self.program.curve.elements.values())), "the curve engine keeps something"
        display = self.program.display
        assert display.pin == self.binder.pin
        assert (display.pin if display.shown else None) == self.binder.display
        return expected

    def boot(self):
        return self._both(self.program.run(), super().boot)

    def _meddled(self):
        """Take over what a test has written to the model's chip."""
        self.chip.memory[:] = self.vault.flash.chip.memory

    def admin(self, payload):
        self._meddled()
        self.program.button, self.program.alarm = self.button, self.trng_alarm
        return self._both(self.program.frame(payload), lambda: super(Both, self).admin(payload))

    def peer(self, message):
        return self._both(self.program.frame(message, 1), lambda: super(Both, self).peer(message))

    def button_long(self):
        self.program.button = self.button
        self.program.run()  # what was held before is let go first
        self.program.pressed.add("long")
        return self._both(self.program.run(), super().button_long)


@pytest.fixture(autouse=True)
def both(monkeypatch):
    monkeypatch.setattr(rig, "DeviceModel", Both)


SKIPPED = {"test_another_device_does_not_pass", "test_without_noise_or_puf"}  # they set what only the model has
TESTS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": test
    for module in (test_binding, test_binding_attacks)
    for name, test in vars(module).items()
    if name.startswith("test_")
    and name not in SKIPPED
    and inspect.isfunction(test)
    and not inspect.signature(test).parameters
}


QUICK = (
    "from_a_pin_to_a_switched_lock",
    "five_wrong_tries_lock_until_the_button",
    "a_binding_does_not_touch_a_session_of_devices",
)
"""Not only among the slow tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name.endswith(QUICK) else pytest.mark.slow) for name in TESTS]
)
def test_program(name):
    TESTS[name]()


def test_an_enrollment_that_failed_leaves_no_identity():
    """Its last byte was not kept: the next one, with another salt, signs with a key of its own."""
    board, who = rig_binding.BoundBoard("lock"), rig_binding.service("hall")
    chips = board.device.chip, board.flash.chip
    for chip in chips:
        chip.worn.append(Worn(range(DEVICE_BASE, DEVICE_BASE + 1), 0xFF, erase=False))
    with pytest.raises(AssertionError):  # FLASH_FAILED
        board.enroll()
    assert board.device.vault.state() is DeviceStateCode.FACTORY
    for chip in chips:
        chip.worn.clear()
    board.enroll()
    rig_binding.open_session(board, who, rig_binding.bind(board, who))


@pytest.mark.parametrize("event", [("select", 0), ("spi", 0)])
def test_a_board_does_not_wait_for_a_flash_that_is_not_selected(event):
    program = rig_binding.BoundBoard("lock").device.program
    with pytest.raises(Waits):
        program.happen(event)
