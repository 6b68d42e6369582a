"""Bindings and controllers' sessions on the compiled device, each step against the model."""

from dataclasses import replace

import pytest
from ringpair_protocol import frames
from ringpair_protocol.admin import Code, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun, OpeningRun, WrongPin

from host.tests.rig_bound import DeviceBoard
from host.tests.rig_scenes import establish
from protocol.tests.rig_binding import WRONG, bind, open_session, refused_by, say, service, switch, told, unbind_text

pytestmark = pytest.mark.slow

BINDING_CYCLES, SESSION_CYCLES = 3_400_000, 3_200_000


@pytest.fixture
def board():
    board = DeviceBoard()
    yield board
    board.twin.close()


def computed(board: DeviceBoard) -> int:
    """Cycles so far in which the device did not wait: neither for a line nor for the flash."""
    return sum(list(board.twin.device.status.phase_cycles)[1:8])


def wrong_try(board: DeviceBoard) -> None:
    run = BindingRun(service("phone"), board.id, WRONG)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))


def test_from_a_pin_to_a_switched_lock(board: DeviceBoard) -> None:
    """Two controllers, beside a session with another device, which is there before and after and goes on."""
    establish(board.twin, board.far)
    phone, hub = service("phone"), service("hub")
    pin, begun = board.pin(), computed(board)
    key = bind(board, phone, pin)
    assert computed(board) - begun <= BINDING_CYCLES
    assert bind(board, hub, board.pin(Pin.PRESET)) == key
    assert board.bindings() == (PIN_TRIES, [phone.id, hub.id])
    begun = computed(board)
    session = open_session(board, phone, key)
    assert computed(board) - begun <= SESSION_CYCLES
    session = switch(board, session, 1)
    session, heard = told(board, session, b"who is it?")
    assert heard == [b"\0who is it?"]
    assert board.twin.command(Opcode.SEND, b"between devices") == b""
    refused_by(board, Code.BAD_CONTROLLER, replace(session, next_out=0).seal(b"again")[1])
    say(board, session, unbind_text(phone))
    assert board.bindings()[1] == [hub.id]
    refused_by(board, Code.NO_SESSION, session.seal(b"late")[1])
    refused_by(board, Code.UNKNOWN_CONTROLLER, OpeningRun(phone, key).s1())
    open_session(board, hub, key)
    assert board.twin.model.party.session


def test_five_wrong_tries_lock_until_the_button(board: DeviceBoard) -> None:
    for left in reversed(range(PIN_TRIES)):
        wrong_try(board)
        assert board.bindings()[0] == left
    refused_by(board, Code.PIN_LOCKED, BindingRun(service("phone"), board.id, WRONG).b1())
    board.start()
    refused_by(board, Code.PIN_LOCKED, BindingRun(service("phone"), board.id, WRONG).b1())
    pin = board.pin()
    board.device.button = True
    bind(board, service("phone"), pin)
    board.device.button = False
    assert board.bindings()[0] == PIN_TRIES


def test_the_pin_on_the_display_binds_and_is_gone(board: DeviceBoard) -> None:
    """Read from the segments; the model knows what was drawn. After each step a display without a PIN must be blank."""
    phone = service("phone")
    bind(board, phone, board.pin(Pin.DISPLAYED))
    assert board.bindings() == (PIN_TRIES, [phone.id])
    board.pin(Pin.DISPLAYED)
    wrong_try(board)
    assert board.device.binder.display is None
    board.pin(Pin.DISPLAYED)
    board.pin()
    assert board.device.binder.display is None
    board.pin(Pin.DISPLAYED)
    board.start()
    assert board.device.binder.display is None


def test_a_pin_that_nobody_uses_is_forgotten(board: DeviceBoard) -> None:
    pin = board.pin(Pin.DISPLAYED)
    board.twin.outlast_pin()
    assert board.twin.device.status.display == 0
    run = BindingRun(service("phone"), board.id, pin)
    with pytest.raises(WrongPin):
        run.b3(board.answer(run.b1()))
    bind(board, service("phone"), board.pin())


def test_letting_the_button_go_after_a_pin_starts_nothing(board: DeviceBoard) -> None:
    """The device has a peer, and a short press would begin a handshake; at any moment of the main loop."""
    for _ in range(30):
        board.pin(Pin.PRESET)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_no_answer_without_a_try(board: DeviceBoard, fraction: float) -> None:
    """The power fails while the try is written: no B2 has left, or the try is used up."""
    run = BindingRun(service("phone"), board.id, WRONG)
    board.twin.arm("program", 1, fraction)
    assert board.twin.cut(bytes([Opcode.CONTROLLER_IN]) + run.b1())
    assert board.twin.admin_out == []
    board.start()
    assert board.bindings()[0] in (PIN_TRIES - 1, PIN_TRIES)
    bind(board, service("phone"))


def test_after_a_factory_reset_the_binding_is_worth_nothing(board: DeviceBoard) -> None:
    phone = service("phone")
    key = bind(board, phone)
    board.twin.press(10.5)
    board.twin.enroll()
    assert board.bindings() == (PIN_TRIES, [])
    refused_by(board, Code.UNKNOWN_CONTROLLER, OpeningRun(phone, key).s1())
    assert bind(board, phone) != key


def test_what_is_damaged_on_the_line_changes_nothing(board: DeviceBoard) -> None:
    run = BindingRun(service("phone"), board.id, board.pin())
    damaged = bytearray(frames.encode(bytes([Opcode.CONTROLLER_IN]) + run.b1()))
    damaged[20] ^= 0x40
    board.twin.line(bytes(damaged))
    assert board.bindings()[0] == PIN_TRIES
