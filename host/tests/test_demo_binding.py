"""The demonstration's lock against the reference model, and that it notices when something does not hold."""

import pytest
from ringpair.board import Board
from ringpair.demo_binding import COMMAND, LockDemo, LockFindings
from ringpair.stage import DemoFailed
from ringpair_protocol.records import MAX_PEERS

from host.tests.model_board import ModelBoard
from protocol.tests.rig_binding import FULL


class Finger:
    """The model, its driver and its button."""

    def __init__(self, model, board):
        self.model, self.board = model, board

    def hold(self):
        self.model.model.button = True

    def release(self):
        self.model.model.button = False

    def enroll(self):
        self.hold()
        self.board.enroll()
        self.release()

    def factory_reset(self):
        self.model.long_press()

    def read_display(self):
        return self.model.model.binder.display.decode()

    def cycles(self):
        return 0


@pytest.fixture
def lock():
    with ModelBoard("lock", identity=FULL) as model, Board.open(model.port) as board:
        finger = Finger(model, board)
        finger.enroll()
        yield finger


def test_everything_holds(lock):
    told = []
    findings = LockDemo(lock, told.append).run()
    assert findings.broken == []
    assert (findings.binding_bytes, findings.opening_bytes, findings.tries_until_locked) == (340, 228, 5)
    assert len(told) == 7
    assert lock.board.bindings().services == []
    assert LockFindings().broken == [name for name in vars(LockFindings()) if not name.endswith("_cycles")]


def test_a_lock_that_never_locks(lock, monkeypatch):
    monkeypatch.setattr("ringpair_protocol.binder.PIN_TRIES", 50)
    demo = LockDemo(lock, print)
    demo.bind()
    with pytest.raises(DemoFailed, match="more than 5 wrong PINs"):
        demo.guess()


def test_a_lock_that_keeps_its_pin(lock):
    demo = LockDemo(lock, print)
    lock.board.display_pin = lambda: None
    lock.read_display = lambda: lock.model.model.vault.keys().preset_pin().decode()
    demo.bind()
    assert demo.findings.broken.count("pin_used_once") == 1


def test_a_lock_that_does_not_forget(lock):
    demo = LockDemo(lock, print)
    demo.bind()
    lock.factory_reset = lambda: None
    with pytest.raises(DemoFailed, match="should be in the factory state"):
        demo.reset()


def test_an_eavesdropper_who_reads_the_command(lock):
    """The check can fail: here the words are carried in the clear beside the messages."""
    demo = LockDemo(lock, print)
    demo.bind()
    carry = demo._carry

    def leaky(message):
        demo.carried.append(COMMAND.encode())
        return carry(message)

    demo._carry = leaky
    demo.command()
    assert demo.findings.eavesdropper_saw_command


def test_a_record_that_is_left(lock):
    demo = LockDemo(lock, print)
    demo.bind()
    table = lock.model.model.vault.keys()
    assert table.load(MAX_PEERS) is not None
    lock.model.model.vault.close()
    monkey = lock.board.bindings
    lock.board.bindings = lambda: monkey().__class__(5, [demo.phone.id])
    demo.unbind()
    assert not demo.findings.unbound
