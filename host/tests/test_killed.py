"""Commands that are killed: at whatever goes to the device or comes from it, at every statement of the database.

Afterwards the registry is whole, and what a message of the program would tell its user to do leads to the end.
"""

import itertools
import os
import signal
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ringpair.cli import main
from ringpair.registry import Registry, Secrecy
from ringpair.registry.models import ACTIVE
from ringpair.registry.services import Services
from ringpair.transport import SerialTransport
from ringpair_protocol.admin import DeviceStateCode, PeerState
from ringpair_protocol.controllers import ControllerTable
from ringpair_protocol.records import MAX_CONTROLLERS
from sqlalchemy import Engine, event

from host.tests.model_board import ModelBoard
from protocol.tests.rig_binding import FULL

PASSPHRASE = "correct horse"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path))
    monkeypatch.setenv("RINGPAIR_PASSPHRASE", PASSPHRASE)
    return tmp_path


def fresh(home: Path) -> None:
    """An empty registry."""
    for file in home.glob("registry.sqlite*"):
        file.unlink()
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE, cost=10)) as registry:
        registry.unlock()


def killed(moment: int, *arguments: object) -> bool:
    """Run a command that is killed at the n-th of its moments; False if it ended before, without an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside the board's thread: it is not used there
        child = os.fork()
    if not child:
        try:
            _die_at(moment)
            os._exit(main([str(argument) for argument in arguments]))
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(moment: int) -> None:
    count = itertools.count(1)

    def tick(*_: object, **__: object) -> None:
        if next(count) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(function: Callable) -> Callable:
        def call(*arguments, **options):
            if function is write:
                tick()
            result = function(*arguments, **options)
            if result or function is write:
                tick()
            return result

        return call

    write = SerialTransport.write
    SerialTransport.write = watched(SerialTransport.write)
    SerialTransport.read = watched(SerialTransport.read)
    for name in ("before_cursor_execute", "after_cursor_execute"):
        event.listen(Engine, name, tick)
    event.listen(Engine, "commit", tick)


def whole(home: Path) -> None:
    with closing(sqlite3.connect(home / "registry.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not database.execute("PRAGMA foreign_key_check").fetchall()


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def enrolled(port: str, name: str) -> None:
    """The command again; if that does not do it, what its message says: remove the entry, and enroll."""
    if run("enroll", port, "--name", name):
        assert run("registry", "remove", name, "--yes") == 0
        assert run("enroll", port, "--name", name) == 0


def test_enroll(home, capsys) -> None:
    for moment in itertools.count(1):
        fresh(home)
        with ModelBoard("one") as board:
            board.hold_button()
            if not killed(moment, "enroll", board.port, "--name", "alice"):
                break
            whole(home)
            with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
                before = registry.devices()
            if board.model.vault.state() is DeviceStateCode.ENROLLED:
                assert [row.id for row in before] == [board.model.vault.device_id.hex()], "a key that nobody has"
            enrolled(board.port, "alice")
            with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
                (row,) = registry.devices()
                assert (row.name, row.state) == ("alice", ACTIVE)
                assert row.id == board.model.vault.device_id.hex()
                board.model.vault.keys()
                assert registry.entry(row).wrap_key == board.model.vault.keys().device().wrap_key
    assert moment > 10


@pytest.fixture
def two(home):
    """Two enrolled boards, and a function that makes the registry and them as they were then."""
    fresh(home)
    with ModelBoard("one") as one, ModelBoard("two") as other:
        for board, name in ((one, "alice"), (other, "bob")):
            board.hold_button()
            enrolled(board.port, name)
        file, flashes = (home / "registry.sqlite").read_bytes(), [bytes(one.flash), bytes(other.flash)]

        def again() -> None:
            for journal in home.glob("registry.sqlite-*"):
                journal.unlink()
            (home / "registry.sqlite").write_bytes(file)
            for board, flash in zip((one, other), flashes, strict=True):
                board.flash[:] = flash
                board.power_cycle()

        yield one, other, again


def paired(one: ModelBoard, other: ModelBoard) -> None:
    """Both have it, and it is the same."""
    keys = [next(board.model.vault.keys().live()) for board in (one, other)]
    assert keys[0].chain_key == keys[1].chain_key


def test_pair(home, two, capsys) -> None:
    one, other, again = two
    for moment in itertools.count(1):
        again()
        was_killed = killed(moment, "pair", "alice", "bob")
        whole(home)
        with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
            waiting = len(registry.outbox())
        assert waiting in (0, 2), "one puzzle without the other"
        if not waiting:
            assert run("pair", "alice", "bob") == 0
        assert run("import", one.port) == run("import", other.port) == 0
        paired(one, other)
        if not was_killed:
            break
    assert moment > 10


def test_import(home, two, capsys) -> None:
    one, other, again = two
    for moment in itertools.count(1):
        again()
        assert run("pair", "alice", "bob") == 0
        assert run("import", other.port) == 0
        was_killed = killed(moment, "import", one.port)
        whole(home)
        with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
            waiting = len(registry.outbox())
        if waiting:
            assert run("import", one.port) == 0
        else:
            assert one.model.vault.keys().describe(0)[0] == PeerState.LIVE, "marked as delivered, and it is not there"
        paired(one, other)
        if not was_killed:
            break
    assert moment > 10


@pytest.fixture
def lock(home):
    """A device that can be bound, and a service."""
    fresh(home)
    with ModelBoard("lock", identity=FULL) as board:
        board.hold_button()
        enrolled(board.port, "lock")
        assert run("service", "new", "phone") == 0
        yield board


def bound_to(board: ModelBoard) -> int:
    """How many services the device knows."""
    keys = board.model.vault.keys()
    table = ControllerTable(keys)
    return sum(table.load(place) is not None for place in range(MAX_CONTROLLERS))


def bindings(home: Path) -> int:
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
        return len(Services(registry).bindings())


def test_bind_and_unbind(home, lock, tmp_path, capsys) -> None:
    """Bound again after a kill, and unbound: once on both sides, then on none."""
    pin = tmp_path / "pin"
    pin.write_text(lock.model.vault.keys().preset_pin().decode())
    bind = "bind", lock.port, "--pin-file", pin
    for moment in itertools.count(1, 2):
        bind_killed = killed(moment, *bind)
        whole(home)
        assert bindings(home) <= bound_to(lock) <= 1, "the registry has what the device has not"
        if bindings(home) == 0:
            assert run(*bind) == 0
        assert run("session", lock.port, "--switch", "on") == 0
        unbind_killed = killed(moment, "unbind", lock.port)
        whole(home)
        assert bound_to(lock) <= bindings(home) <= 1, "the device has what the registry has not"
        if bindings(home):
            assert run("unbind", lock.port) == 0
        assert (bound_to(lock), bindings(home)) == (0, 0)
        if not bind_killed and not unbind_killed:
            break
    assert moment > 10
