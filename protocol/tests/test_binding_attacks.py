"""Bindings under attack: replay, reflection, alteration, points of small order, what is no message, missing parts."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from ringpair_protocol import binding
from ringpair_protocol.admin import Code, Opcode, Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun, ControllerError, NotTheDevice, OpeningRun
from ringpair_protocol.messages import (
    B1,
    B2,
    B3,
    B3_FIRST,
    B4,
    DATA,
    LENGTHS,
    S1,
    S2,
    S3,
    SWITCH,
)

from protocol.tests.rig import Board, refused
from protocol.tests.rig_binding import (
    BoundBoard,
    bind,
    enrolled,
    refused_by,
    service,
    switch,
    told,
)
from protocol.tests.test_curve25519 import LOW_ORDER

# ------------------------------------------------------------------------------------------- replay, reflection, wrong


def test_replay() -> None:
    """Old messages of a controller, again: nothing is bound, no session opens, nothing is switched."""
    board, phone = enrolled(), service("phone")
    run = BindingRun(phone, board.id, board.pin())
    b1 = run.b1()
    b3 = run.b3(board.answer(b1))
    key = run.finish(board.answer(b3))
    refused_by(board, Code.NO_BINDING, b3)
    board.answer(b1)
    refused_by(board, Code.WRONG_PIN, b3)
    opening = OpeningRun(phone, key)
    s1 = opening.s1()
    s3, session = opening.s3(board.answer(s1))
    board.answer(s3)
    refused_by(board, Code.NO_BINDING, s3)
    session, message = session.seal(bytes([SWITCH, 1]))
    board.answer(message)
    switch(board, session, 0)
    refused_by(board, Code.BAD_CONTROLLER, message)
    assert board.device.binder.switch == 0
    board.answer(s1)
    refused_by(board, Code.BAD_CONTROLLER, s3)
    session, events = told(board, replace(session, next_out=5), b"the session of before goes on")
    assert events


def test_reflection() -> None:
    """Our own messages, sent back to us."""
    board, phone = enrolled(), service("phone")
    run = BindingRun(phone, board.id, board.pin())
    b1 = run.b1()
    with pytest.raises(NotTheDevice, match="own share"):
        run.b3(bytes([B2]) + b1[17:] + bytes(16))
    b3 = run.b3(board.answer(b1))
    with pytest.raises(NotTheDevice):
        run.finish(bytes([B4]) + b3[17:])
    key = run.finish(board.answer(b3))
    opening = OpeningRun(phone, key)
    s3, session = opening.s3(board.answer(opening.s1()))
    with pytest.raises(NotTheDevice):
        opening.s3(bytes([S2]) + opening.s1()[2:] + s3[1:])
    board.answer(s3)
    session, message = session.seal(b"text")
    assert session.open(message) is None
    session, answer = session.seal(bytes([SWITCH]))
    back = board.answer(answer)
    refused_by(board, Code.BAD_CONTROLLER, back)


@pytest.mark.parametrize("point", [LOW_ORDER[0], LOW_ORDER[2], LOW_ORDER[5]], ids=bytes.hex)
def test_shares_of_small_order(point: bytes) -> None:
    """Refused by the device (a B1 costs a try all the same), and by the controller."""
    board, phone = enrolled(), service("phone")
    run = BindingRun(phone, board.id, board.pin())
    refused_by(board, Code.BAD_CONTROLLER, run.b1()[:17] + point)
    assert board.bindings()[0] == PIN_TRIES - 1
    with pytest.raises(NotTheDevice, match="no share"):
        run.b3(bytes([B2]) + point + bytes(16))
    key = bind(board, phone)
    s1 = bytes([S1]) + binding.hint(phone.id, point) + point
    refused_by(board, Code.BAD_CONTROLLER, s1)
    with pytest.raises(NotTheDevice):
        OpeningRun(phone, key).s3(bytes([S2]) + point + bytes(80))


def altered(steps: Sequence[Callable[..., bytes]], number: int, place: int) -> None:
    """Carry out the steps, each given the result of the one before; one bit of result ``number`` is turned."""
    first, *others = steps
    message = first()
    for turn, step in enumerate(others):
        if turn == number:
            message = message[:place] + bytes([message[place] ^ 0x10]) + message[place + 1 :]
        message = step(message)


def test_every_byte_of_a_binding_counts() -> None:
    """One wrong bit in any byte of B1 to B4: nobody is bound to anybody."""
    image = bytes(enrolled().flash.chip.memory)
    for number, step in ((0, 5), (1, 5), (2, 13), (3, 13)):
        for place in range(0, (49, 49, 129, 113)[number], step):
            board, phone = enrolled(), service("phone")
            board.flash.chip.memory[:] = image
            run = BindingRun(phone, board.id, board.pin(Pin.PRESET))
            steps = (run.b1, board.answer, run.b3, board.answer, run.finish)
            with pytest.raises((ControllerError, AssertionError)):
                altered(steps, number, place)
            assert board.bindings()[1] == ([phone.id] if number == 3 else [])


def test_every_byte_of_an_opening_counts() -> None:
    board, phone = enrolled(), service("phone")
    key = bind(board, phone)
    for number, length in enumerate((34, 113, 81)):
        for place in range(0, length, 7):
            run = OpeningRun(phone, key)
            with pytest.raises((ControllerError, AssertionError)):
                altered((run.s1, board.answer, lambda s2, run=run: run.s3(s2)[0], board.answer), number, place)
            assert board.device.binder.session is None


def test_a_key_of_another_service_is_not_bound() -> None:
    """B1 names one service, B3 brings the key of another, signed and all."""
    board, phone, hub = enrolled(), service("phone"), service("hub")
    run = BindingRun(phone, board.id, board.pin())
    run.b3(b2 := board.answer(run.b1()))
    run.service = hub
    refused_by(board, Code.BAD_CONTROLLER, run.b3(b2))
    assert board.bindings() == (PIN_TRIES, [])


def test_what_is_no_message() -> None:
    board = enrolled()
    for header in range(256):
        right = B3_FIRST if header == B3 else LENGTHS.get(header)
        for length in {1, 17, 34, 49, 81, 125} - {right}:
            if header not in (B1, B3, S1, S3, DATA) or length != right:
                code = Code.NO_SESSION if header == DATA else Code.BAD_VALUE
                refused(board, code, Opcode.CONTROLLER_IN, bytes([header]) + bytes(length - 1))
    for header in (B3, S3):
        length = B3_FIRST if header == B3 else LENGTHS[S3]
        refused(board, Code.NO_BINDING, Opcode.CONTROLLER_IN, bytes([header]) + bytes(length - 1))
    refused(board, Code.NO_BINDING, Opcode.CONTROLLER_REST, bytes(112))
    for opcode, lengths in ((Opcode.CONTROLLER_REST, {0, 111, 113}), (Opcode.PIN, {0, 2}), (Opcode.BINDINGS, {1})):
        for length in lengths:
            refused(board, Code.BAD_LENGTH, opcode, bytes(length))
    refused(board, Code.BAD_LENGTH, Opcode.CONTROLLER_IN)
    fresh = BoundBoard("fresh")
    for opcode, length in ((Opcode.CONTROLLER_IN, 49), (Opcode.CONTROLLER_REST, 112), (Opcode.PIN, 1)):
        refused(fresh, Code.NOT_ENROLLED, opcode, bytes(length))
    refused(fresh, Code.NOT_ENROLLED, Opcode.BINDINGS)


def test_a_device_that_only_pairs_knows_none_of_it() -> None:
    board = Board("x")
    board.enroll()
    for opcode in (Opcode.CONTROLLER_IN, Opcode.CONTROLLER_REST, Opcode.PIN, Opcode.BINDINGS):
        refused(board, Code.UNKNOWN_COMMAND, opcode, bytes(49))


def test_without_noise_or_puf() -> None:
    """No try is spent; the reason is told."""
    board, phone = enrolled(), service("phone")
    key, pin = bind(board, phone), board.pin()
    b1, s1 = BindingRun(phone, board.id, pin).b1(), OpeningRun(phone, key).s1()
    board.device.trng_alarm = True
    for message in (b1, s1):
        refused(board, Code.TRNG_FAILED, Opcode.CONTROLLER_IN, message)
    board.device.trng_alarm = False
    board.puf.broken = True
    for message in (b1, s1):
        refused(board, Code.PUF_FAILED, Opcode.CONTROLLER_IN, message)
    board.puf.broken = False
    assert board.bindings()[0] == PIN_TRIES
    run = BindingRun(phone, board.id, pin)
    board.answer(run.b3(board.answer(run.b1())))
