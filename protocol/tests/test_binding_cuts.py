"""Power cuts around the try counter and the records of controllers: at every flash command, before and during it."""

import pytest
from ringpair_protocol.admin import Pin
from ringpair_protocol.binding import PIN_TRIES
from ringpair_protocol.controller import BindingRun
from ringpair_protocol.records import CONTROLLER_BASE, STORE_END

from protocol.tests.rig import PowerCut
from protocol.tests.rig_binding import (
    WRONG,
    BoundBoard,
    bind,
    enrolled,
    open_session,
    say,
    service,
    switch,
    unbind_text,
)

WHEN = pytest.mark.parametrize("when", ["before", "during"])


def cut_everywhere(prepare, act, check, when: str) -> int:
    """Cut ``act`` after every number of flash commands; ``check`` looks after the power is back. The number of cuts."""
    through = 0
    while True:
        board, *rest = prepare()
        board.flash.cut = through, when
        try:
            act(board, *rest)
            return through
        except PowerCut:
            board.start()
            check(board, *rest)
        through += 1


@WHEN
@pytest.mark.parametrize("tries", [0, PIN_TRIES - 1])
def test_no_answer_without_a_try(when: str, tries: int) -> None:
    """A try is spent in flash or B2 was not sent; it never comes back by a cut."""
    answered = []

    def prepare():
        board = enrolled()
        for _ in range(tries):
            run = BindingRun(service("phone"), board.id, WRONG)
            board.answer(run.b1())
        answered.clear()
        return board, BindingRun(service("phone"), board.id, board.pin(Pin.PRESET))

    def act(board, run):
        answered.append(board.answer(run.b1()))
        assert board.bindings()[0] == PIN_TRIES - tries - 1

    def check(board, run):
        left = board.bindings()[0]
        assert left in (PIN_TRIES - tries, PIN_TRIES - tries - 1)
        assert not answered

    assert cut_everywhere(prepare, act, check, when) >= 2, "new slot, old slot"


@WHEN
def test_a_binding_cut_anywhere(when: str) -> None:
    """Bound or not: what B3 brings is in the table whole or not at all, and binding again works."""
    phone, hub = service("phone"), service("hub")

    def prepare():
        board = enrolled()
        key = bind(board, hub)
        run = BindingRun(phone, board.id, board.pin(Pin.PRESET))
        return board, key, run, run.b3(board.answer(run.b1()))

    def act(board, key, run, b3):
        assert run.finish(board.answer(b3)) == key

    def check(board, key, run, b3):
        left, bound = board.bindings()
        assert left in (PIN_TRIES - 1, PIN_TRIES)
        assert bound in ([hub.id], [hub.id, phone.id])
        assert left == PIN_TRIES or bound == [hub.id], "the tries come first"
        if phone.id in bound:
            open_session(board, phone, key)
        open_session(board, hub, key)
        assert bind(board, phone) == key
        assert board.bindings() == (PIN_TRIES, [hub.id, phone.id])

    assert cut_everywhere(prepare, act, check, when) == 2 + 3 + 3, "counter, three sectors, first sector with its slot"


@WHEN
def test_binding_again_cut_anywhere(when: str) -> None:
    """The service stays bound all the time."""
    phone = service("phone")

    def prepare():
        board = enrolled()
        key = bind(board, phone)
        run = BindingRun(phone, board.id, board.pin(Pin.PRESET))
        return board, key, run.b3(board.answer(run.b1()))

    def act(board, key, b3):
        board.answer(b3)

    def check(board, key, b3):
        assert board.bindings()[1] == [phone.id]
        session = open_session(board, phone, key)
        say(board, session, unbind_text(phone))
        assert board.bindings()[1] == []

    assert cut_everywhere(prepare, act, check, when) == 2, "the counter only: the record is there"


@WHEN
def test_unbinding_cut_anywhere(when: str) -> None:
    """Bound as before, or not any more; never half."""
    phone, hub = service("phone"), service("hub")

    def prepare():
        board = enrolled()
        key = bind(board, phone)
        bind(board, hub)
        return board, key, open_session(board, phone, key).seal(unbind_text(phone))[1]

    def act(board, key, message):
        board.answer(message)

    def check(board, key, message):
        bound = board.bindings()[1]
        assert bound in ([hub.id], [phone.id, hub.id])
        switch(board, open_session(board, hub, key), 1)
        if phone.id in bound:
            say(board, open_session(board, phone, key), unbind_text(phone))
        assert board.bindings()[1] == [hub.id]

    assert cut_everywhere(prepare, act, check, when) == 1


@WHEN
def test_a_factory_reset_cut_anywhere(when: str) -> None:
    """The device is in the factory state or as before, and no controller is left once it is enrolled again."""
    phone = service("phone")

    def prepare():
        board = enrolled()
        return board, bind(board, phone)

    def act(board, key):
        board.device.button_long()

    def check(board, key):
        if board.flash.read(0x0B8000, 1) == b"\x01":
            open_session(board, phone, key)
            return
        board.enroll()
        assert board.bindings() == (PIN_TRIES, [])
        assert board.flash.read(CONTROLLER_BASE, 256) == b"\xff" * 256

    assert cut_everywhere(prepare, act, check, when) == 3, "plain record, device journal, the controller's first sector"


def test_a_pairing_device_leaves_the_records_of_controllers_alone() -> None:
    """They lie behind everything else."""
    assert CONTROLLER_BASE == STORE_END
    board = BoundBoard("x")
    assert len(board.flash.chip.memory) > STORE_END
