"""The controller's verbs against the reference model: services, binding by PIN and label, sessions, errors."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from ringpair.board import Board
from ringpair.cli import main
from ringpair.controller import open_session
from ringpair.registry import Registry, Secrecy, export, import_backup
from ringpair.registry.services import Services
from ringpair_protocol.label import Label
from ringpair_protocol.messages import DATA

from host.tests.model_board import ModelBoard
from host.tests.rig_registry import PASSPHRASE, SECRECY
from protocol.tests.rig_binding import FULL

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def run(run):
    """Run a command; its JSON object only."""
    return lambda *arguments, code=0: run(*arguments, code=code)[0]


@pytest.fixture
def lock(run):
    """An enrolled device that can be bound."""
    with ModelBoard("lock", identity=FULL) as board:
        board.hold_button()
        run("enroll", board.port, "--name", "lock")
        yield board


@pytest.fixture
def typed(monkeypatch):
    """What a user types or pipes in."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text + "\n"))


def show(lock, run):
    """The device shows a PIN."""
    return run("pin", lock.port)["pin"]


def bind(lock, run, typed, service="phone", **expected):
    typed(show(lock, run))
    return run("bind", lock.port, "--service", service, "--pin-file", "-", **expected)


# ------------------------------------------------------------------------------ the story


def test_from_a_service_to_a_switched_lock(lock, run, typed, capsys):
    service = run("service", "new", "phone")
    bound = bind(lock, run, typed)
    assert bound["service_id"] == service["id"]
    info = run("info", lock.port)
    assert (info["profile"], info["device_id"]) == ("full", bound["device_id"])
    opened = run("session", lock.port, "--switch", "on", "--text", "good evening")
    assert (opened["switch"], opened["messages"]) == (1, 1)
    assert lock.model.binder.switch == 1
    assert run("session", lock.port)["switch"] == 1
    assert run("session", lock.port, "--switch", "7")["switch"] == 7
    assert run("services") == {
        "services": [
            {
                "name": "phone",
                "id": service["id"],
                "devices": 1,
                "created_at": run("services")["services"][0]["created_at"],
            }
        ]
    }
    (device,) = run("devices", "--service", "phone")["devices"]
    assert (device["device_id"], device["name"], device["simulated"]) == (bound["device_id"], "lock", True)
    assert device["device_key"] == bound["device_key"]
    assert run("unbind", lock.port)["device_knew"] is True
    assert run("devices") == {"devices": []}
    error = run("session", lock.port, code=4)["error"]["message"]
    assert "service phone is not bound to the device" in error
    assert main(["services"]) == 0
    assert "phone" in capsys.readouterr().out


def test_the_text_goes_to_the_owner(lock, run, typed):
    """An event of the device tells it; what the controller's own host sees on the line is ciphertext both ways."""
    run("service", "new", "phone")
    bind(lock, run, typed)
    seen = []
    lock.damage_in = lambda data: seen.append(data) or data
    words = "the words of the owner, many of them: " + "a" * 100
    done = run("session", lock.port, "--text", words)
    assert (done["messages"], done["heard"]) == (2, words)
    assert b"the words of the owner" not in b"".join(seen)


def test_a_pin_on_the_display_is_not_printed(lock, run, typed, capsys):
    assert run("pin", lock.port, "--display")["pin"] is None
    assert main(["pin", lock.port, "--display"]) == 0
    told, shown = capsys.readouterr().out, lock.model.binder.display.decode()
    assert "on the device's display" in told
    assert shown not in told
    typed(shown)
    run("service", "new", "phone")
    assert run("bind", lock.port, "--service", "phone", "--pin-file", "-")["service"] == "phone"
    assert lock.model.binder.display is None


def test_label(lock, run, home, capsys):
    label = run("label", lock.port, "--png", home / "label.png", "--svg", home / "label.svg")
    assert label["qr"] == Label(bytes.fromhex(label["device_id"]), label["pin"]).to_text()
    assert len(label["pin"]) == 8
    assert (home / "label.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in (home / "label.svg").read_bytes()[:300]
    assert main(["label", lock.port]) == 0
    out = capsys.readouterr().out
    assert label["qr"] in out
    assert len(out.splitlines()) > 10
    run("service", "new", "phone")
    assert run("bind", lock.port, "--qr", label["qr"].lower())["service"] == "phone"
    run("session", lock.port, "--switch", "on")


def test_label_from_standard_input(lock, run, typed):
    run("service", "new", "phone")
    typed(run("label", lock.port)["qr"])
    run("bind", lock.port, "--qr", "-")


def test_two_services_and_two_controllers(lock, run, typed, tmp_path, monkeypatch):
    """Each has its own key and its own binding; neither opens a session with the other's."""
    for name in ("phone", "car"):
        run("service", "new", name)
        bind(lock, run, typed, name)
    ids = {service["id"] for service in run("services")["services"]}
    assert len(ids) == 2
    run("session", lock.port, "--service", "phone", "--switch", "on")
    assert run("session", lock.port, "--service", "car")["switch"] == 1
    error = run("session", lock.port, code=4)["error"]["message"]
    assert "--service does not say; services: car, phone" in error
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path / "other"))
    with Registry(tmp_path / "other" / "registry.sqlite", SECRECY) as registry:
        registry.unlock()
    run("service", "new", "phone")
    run("session", lock.port, code=4)
    bind(lock, run, typed)
    assert run("session", lock.port, "--switch", "off")["switch"] == 0
    run("unbind", lock.port)
    monkeypatch.setenv("RINGPAIR_HOME", str(tmp_path))
    for name in ("phone", "car"):
        run("session", lock.port, "--service", name)


def test_seeds_lie_sealed(lock, run, home):
    run("service", "new", "phone")
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
        services = Services(registry)
        row = services.find("phone")
        seed = services.keys(row).seed
        assert seed not in registry.path.read_bytes()
        assert seed.hex() not in repr(services.keys(row))
        row.id = "00" * 8
        with pytest.raises(Exception, match="does not open"):
            services.keys(row)


# ------------------------------------------------------------------------------ what goes wrong


def test_wrong_pins_until_it_locks(lock, run, typed):
    run("service", "new", "phone")
    lock.model.button = False
    for left in (4, 3, 2, 1, 0):
        typed("99999999")
        error = run("bind", lock.port, "--pin-file", "-", code=1)["error"]
        assert error["kind"] == "BindingFailed"
        assert f"{left} tries left" in error["message"]
    typed("99999999")
    error = run("bind", lock.port, "--pin-file", "-", code=1)["error"]
    assert (error["kind"], error["code"]) == ("Refused", "PIN_LOCKED")
    lock.hold_button()
    bind(lock, run, typed)
    assert run("devices")["devices"]


def test_after_a_factory_reset(lock, run, typed):
    run("service", "new", "phone")
    bind(lock, run, typed)
    lock.long_press()
    error = run("session", lock.port, code=1)["error"]["message"]
    assert "not enrolled" in error
    run("enroll", lock.port, "--name", "lock2")
    run("session", lock.port, code=4)


def test_an_impostor_with_the_same_id(lock, run, typed, home):
    """A device that has the id and knows the service, but not the key."""
    run("service", "new", "phone")
    bound = bind(lock, run, typed)
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
        services = Services(registry)
        row, device_id = services.find("phone"), bytes.fromhex(bound["device_id"])
        services.bound(row, device_id, services.find("phone").public_key, False)
    error = run("session", lock.port, code=1)["error"]
    assert error["kind"] == "BindingFailed"
    assert "not signed by the device that was bound" in error["message"]


def test_unbind_what_the_device_has_forgotten(lock, run, typed):
    run("service", "new", "phone")
    bind(lock, run, typed)
    table = lock.model.vault.keys()
    table.remove(16 + 0) if table.load(16) else None
    lock.model.vault.close()
    error = run("session", lock.port, code=1)["error"]
    assert error["code"] == "UNKNOWN_CONTROLLER"
    assert run("unbind", lock.port)["device_knew"] is False
    assert run("devices") == {"devices": []}


def test_gateware_that_cannot_be_bound(run, typed):
    run("service", "new", "phone")
    with ModelBoard("pair") as board:
        for verb in (
            ("pin",),
            ("label",),
            ("session",),
            ("unbind",),
            ("bind", "--qr", Label(bytes(8), "12345678").to_text()),
        ):
            error = run(verb[0], board.port, *verb[1:], code=3)["error"]
            assert "its profile is pair" in error["message"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("bind", "PORT", "--qr", "RP1:00:1:2"), 2, "a label reads|checksum"),
        (("bind", "PORT", "--qr", Label(bytes(8), "12345678").to_text()), 2, "the label is of the device"),
        (("bind", "PORT", "--pin-file", "/nowhere/pin"), 2, "cannot read /nowhere/pin: No such file"),
        (("bind", "PORT", "--pin-file", "/"), 2, "directory; expected a file with the PIN"),
        (("bind", "PORT"), 2, "no terminal to ask"),
        (("bind", "PORT", "--service", "watch"), 4, "no service 'watch'; services: phone"),
        (("session", "PORT", "--text", ""), 2, "at least one byte"),
        (("service", "new", "phone"), 4, "a service phone already"),
        (("service", "new", "7"), 4, "is no name for a service"),
        (("service", "remove", "phone"), 2, "no terminal to ask"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else None,
)
def test_errors(lock, run, typed, arguments, code, text):
    run("service", "new", "phone")
    typed("")
    error = run(*(lock.port if word == "PORT" else word for word in arguments), code=code)["error"]
    assert any(part in error["message"] for part in text.split("|")), error


@pytest.mark.parametrize("pin", ["", "12345", "x" * 8, "1" * 13])
def test_pins_that_are_none(lock, run, typed, home, pin):
    run("service", "new", "phone")
    typed(pin)
    assert "a PIN has 6 to 12 digits" in run("bind", lock.port, "--pin-file", "-", code=2)["error"]["message"]
    (home / "pin").write_text(pin)
    run("bind", lock.port, "--pin-file", home / "pin", code=2)
    with Board.open(lock.port) as board:
        assert board.bindings().tries_left == 5


def test_pin_needs_the_button(lock, run):
    lock.model.button = False
    for verb in ("pin", "label"):
        assert run(verb, lock.port, code=1)["error"]["code"] == "NEED_BUTTON"


def test_a_pin_is_asked_for_at_a_terminal(lock, run, monkeypatch):
    run("service", "new", "phone")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: lock.model.binder.pin.decode())
    show(lock, run)
    run("bind", lock.port)


def test_remove_a_service(lock, run, typed):
    run("service", "new", "phone")
    bound = bind(lock, run, typed)
    assert run("service", "remove", "phone", "--yes")["devices"] == [bound["device_id"]]
    assert run("services") == {"services": []}
    error = run("session", lock.port, code=4)["error"]["message"]
    assert "none yet: `ringpair service new NAME` makes one" in error


def test_a_damaged_line(lock, run, typed):
    """Frames that arrive damaged are sent again: a binding and a session come about all the same."""
    run("service", "new", "phone")
    pin = show(lock, run)
    long = []

    def damage(data):
        if len(data) > 20:
            long.append(len(data))
        return data[:3] + bytes([data[3] % 255 + 1]) + data[4:] if len(data) > 20 and len(long) % 3 == 1 else data

    lock.damage_in = damage
    typed(pin)
    run("bind", lock.port, "--pin-file", "-")
    assert run("session", lock.port, "--switch", "on")["switch"] == 1
    assert len(long) >= 9, "B1, B3 in two, S1, S3, SWITCH, and some of them twice"


def test_backup_brings_services(lock, run, typed, home):
    run("service", "new", "phone")
    bind(lock, run, typed)
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
        export(registry, home / "backup", "other words", cost=10)
    with Registry(home / "new.sqlite", SECRECY) as fresh:
        for _ in range(2):
            import_backup(fresh, home / "backup", "other words")
        assert len(Services(fresh).bindings()) == 1
    assert run("session", lock.port, "--registry", home / "new.sqlite", "--switch", "on")["switch"] == 1


def test_keyring(run, home, monkeypatch, system_keyring):
    """Services' keys in the system keyring instead: no passphrase."""
    monkeypatch.delenv("RINGPAIR_PASSPHRASE")
    made = run("service", "new", "phone", "--registry", home / "kept.sqlite", "--keyring")
    with Registry(home / "kept.sqlite") as registry:
        services = Services(registry)
        assert services.keys(services.find("phone")).id.hex() == made["id"]


def test_no_pin_in_the_help():
    """There is no option that would put a PIN into the shell's history."""
    done = subprocess.run([sys.executable, "-m", "ringpair.cli", "bind", "--help"], capture_output=True, text=True)
    assert "--pin-file" in done.stdout
    assert "--pin " not in done.stdout


def test_full_disk_leaves_the_label_that_was_there(lock, run, home, monkeypatch):
    """The picture is written whole or not at all."""
    picture = home / "label.svg"
    run("label", lock.port, "--svg", picture)
    before = picture.read_bytes()

    def full(path, data):
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    error = run("label", lock.port, "--svg", picture, code=1)["error"]["message"]
    monkeypatch.undo()
    assert error.startswith(f"{picture}: No space left on device")
    assert picture.read_bytes() == before
    assert not list(home.glob("label.svg.*"))


def test_no_counter_is_used_twice(lock, run, typed):
    """A session of several commands: every message of ours has a counter of its own, in order."""
    run("service", "new", "phone")
    bound = bind(lock, run, typed)
    with Registry(None, SECRECY) as registry, Board.open(lock.port) as board:
        services = Services(registry)
        keys = services.keys(services.find("phone"))
        sent = []

        def carry(message):
            sent.append(message)
            return board.controller(message)

        session = open_session(board, keys, bytes.fromhex(bound["device_key"]), carry)
        assert [session.switch(1), session.switch(), session.send("x" * 200), session.switch(0)] == [1, 1, 3, 0]
    assert [message[1] for message in sent if message[0] == DATA] == list(range(6))
