"""The command line against the reference model: each verb, its JSON, its exit code, and its errors."""

import io
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from ringpair.cli import VERBS, main
from ringpair.cli.common import event_data
from ringpair.cli.output import printable
from ringpair.events import SessionFailed
from ringpair.registry import Registry, Secrecy
from ringpair_protocol.admin import NOBODY, Code, DeviceStateCode
from ringpair_protocol.messages import LENGTHS, PUZZLE

from host.tests.model_board import ModelBoard, wire
from host.tests.rig_registry import PASSPHRASE

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def devices():
    """Two wired devices, buttons held."""
    with ModelBoard("one") as one, ModelBoard("two", tcp=True) as two:
        wire(one, two)
        one.hold_button()
        two.hold_button()
        yield one, two


@pytest.fixture
def paired(devices, run):
    """The two are alice and bob, and paired."""
    one, two = devices
    run("enroll", one.port, "--name", "alice")
    run("enroll", two.port, "--name", "bob")
    run("pair", "alice", "bob")
    run("import", one.port)
    run("import", two.port)
    return devices


# ------------------------------------------------------------------------------ the story


def test_from_the_box_to_encrypted_text(devices, run, capsys, home):
    one, two = devices
    info, _ = run("info", one.port)
    assert (info["state"], info["button"], info["simulated"], info["clock_mhz"]) == ("factory", True, True, 12)
    assert (info["device_id"], info["name"]) == (None, None)
    alice, err = run("enroll", one.port, "--name", "alice")
    assert "enrolling alice" in err
    bob, _ = run("enroll", two.port, "--name", "bob")
    info, _ = run("info", two.port)
    assert (info["state"], info["device_id"], info["name"]) == ("enrolled", bob["id"], "bob")
    pair, _ = run("pair", "alice", alice["id"][:6], code=4)
    assert "are the same" in pair["error"]["message"]
    pair, _ = run("pair", "alice", "bob", "-o", home / "mail")
    assert [puzzle["recipient"] for puzzle in pair["puzzles"]] == ["alice", "bob"]
    assert sorted(file.name for file in (home / "mail").iterdir()) == ["alice-000000.puzzle", "bob-000000.puzzle"]
    imported, err = run("import", one.port)
    assert imported["imported"][0] | {"kind": 0} == {
        "device": "alice", "kind": 0, "peer_id": bob["id"], "index": 0, "outcome": "delivered", "peer": 0, "code": "OK",
    }  # fmt: skip
    assert "alice: puzzle for bob: delivered, peer 0" in err
    imported, _ = run("import", two.port, home / "mail" / "bob-000000.puzzle")
    assert imported["imported"][0]["outcome"] == "delivered"
    peers, _ = run("peers", one.port)
    assert [(row["number"], row["state"], row["name"], row["id"]) for row in peers["peers"]] == [
        (0, "live", "bob", bob["id"])
    ]
    session, _ = run("connect", one.port, "bob")
    assert (session["role"], session["epoch"], session["name"], session["peer_id"]) == (
        "initiator",
        0,
        "bob",
        bob["id"],
    )
    assert len(bytes.fromhex(session["session_id"])) == 8
    heard = listen_meanwhile(two.port, lambda: run("send", one.port, "Grüße, bob"))
    assert heard == ["Grüße, bob"]
    assert main(["peers", one.port]) == 0
    assert "bob" in capsys.readouterr().out
    assert main(["registry", "list"]) == 0
    assert "alice" in capsys.readouterr().out
    run("disconnect", one.port)
    refused, err = run("send", one.port, "x", code=1)
    assert refused["error"]["code"] == "NO_SESSION"
    assert err.startswith("ringpair: the device refused SEND (NO_SESSION)")
    assert err.count("\n") == 1


def listen_meanwhile(port, action, count=1):
    """Texts that another process hears while ``action`` runs."""
    command = [sys.executable, "-m", "ringpair.cli", "listen", port, "--count", str(count), "--seconds", "20", "--json"]
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert listener.stderr.readline().startswith("listening")
    action()
    out, _ = listener.communicate(timeout=30)
    assert listener.returncode == 0
    return [event["text"] for event in map(json.loads, out.splitlines()) if event["event"] == "text"]


def test_standard_input_line_by_line(paired, run, monkeypatch):
    one, two = paired
    run("connect", one.port, "0")
    lines = "first\n" + "ö" * 100 + "\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode() + b"\xff")))
    sent = []
    heard = listen_meanwhile(two.port, lambda: sent.append(run("send", one.port, "-")[0]), count=5)
    assert sent[0] == {"messages": 5, "bytes": 6 + 201 + 1}
    assert "".join(heard) == lines + "�"


def test_revocation_and_factory_reset(paired, run):
    one, two = paired
    revoked, _ = run("revoke", "alice", "bob")
    assert len(revoked["revocations"]) == 2
    assert run("import", one.port)[0]["imported"][0]["kind"] == "revocation"
    assert run("connect", one.port, "bob", code=1)[0]["error"]["message"].startswith(one.port)
    run("pair", "alice", "bob")
    assert [row["kind"] for row in run("import", two.port)[0]["imported"]] == ["revocation", "puzzle"]
    unasked, _ = run("factory-reset", one.port, code=2)
    assert "Reset alice" in unasked["error"]["message"]
    assert "--yes" in unasked["error"]["message"]
    assert one.model.vault.state() is DeviceStateCode.ENROLLED
    reset, _ = run("factory-reset", one.port, "--yes")
    assert (reset["name"], reset["peers"]) == ("alice", ["bob"])
    again, _ = run("factory-reset", one.port, "--yes", code=1)
    assert "factory state" in again["error"]["message"]
    assert one.model.vault.state() is DeviceStateCode.FACTORY
    assert run("info", one.port)[0]["state"] == "factory"
    states = {row["name"]: row["state"] for row in run("registry", "list")[0]["devices"]}
    assert sorted(states.values()) == ["active", "retired"]
    run("enroll", one.port, "--name", "alice")


def test_tunnel_through_this_process(paired, run):
    one, two = paired
    one.wired = two.wired = None
    session, _ = run("connect", one.port, "bob", "--tunnel", two.port)
    assert session["epoch"] == 0
    sent, err = run("send", one.port, "through the tunnel", "--connect", "bob", "--tunnel", two.port)
    assert sent["messages"] == 1
    assert "through the tunnel" in err


def test_bridge_to_another_machine(paired, run, capsys):
    """Here a bridge process beside bob, there a command with a tunnel beside alice; UDP between them."""
    one, two = paired
    one.wired = two.wired = None
    ports = free_ports()
    far = [sys.executable, "-m", "ringpair.cli", "bridge", two.port, f"udp://127.0.0.1:{ports[0]}?local={ports[1]}"]
    process = subprocess.Popen(
        [*far, "--json", "--seconds", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr.readline().startswith("carrying")
        near = f"udp://127.0.0.1:{ports[1]}?local={ports[0]}"
        run("send", one.port, "over the wide net", "--connect", "bob", "--tunnel", near)
        events = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.terminate()
        process.communicate()
    assert [event["event"] for event in events] == ["session", "text"]
    assert events[1]["text"] == "over the wide net"


def free_ports():
    import socket

    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1]


def test_bridge_of_two_ports_with_connect(paired, run):
    one, two = paired
    one.wired = two.wired = None
    events, _ = run("bridge", one.port, two.port, "--connect", "bob", "--seconds", "2")
    events = events if isinstance(events, list) else [events]
    assert any(event["event"] == "session" and event["port"] == two.port for event in events)


# ------------------------------------------------------------------------------ import


def test_import_finds_out_which_board_it_is(devices, run):
    one, two = devices
    run("enroll", two.port, "--name", "alice")  # the outbox lists alice first; the board at hand is zoe
    run("enroll", one.port, "--name", "zoe")
    run("pair", "alice", "zoe")
    imported, err = run("import", one.port)
    assert [row["device"] for row in imported["imported"]] == ["zoe"]
    assert "alice: puzzle" not in err
    again, _ = run("import", one.port, code=4)
    assert "holds nothing for zoe" in again["error"]["message"]
    assert [row["recipient"] for row in run("registry", "outbox")[0]["outbox"]] == ["alice"]
    run("import", two.port)


def test_import_by_a_board_that_nobody_knows(devices, run, home):
    one, _ = devices
    blank, _ = run("import", one.port, code=1)
    assert "ringpair enroll" in blank["error"]["message"]
    run("enroll", one.port, "--name", "alice")
    other, _ = run("import", one.port, "--registry", home / "other.sqlite", code=4)
    assert "does not know the device" in other["error"]["message"]
    assert "--registry" in other["error"]["message"]


def test_import_after_a_lost_reply(devices, run):
    """The device took the puzzle, the host does not know: the next import sees that it is there."""
    one, two = devices
    run("enroll", one.port, "--name", "alice")
    run("enroll", two.port, "--name", "bob")
    puzzle = run("pair", "alice", "bob")[0]["puzzles"][0]
    one.model.admin(bytes([5]) + bytes.fromhex(puzzle["message"]))
    imported, _ = run("import", one.port)
    assert (imported["imported"][0]["outcome"], imported["imported"][0]["peer"]) == ("known already", 0)
    assert [row["recipient"] for row in run("registry", "outbox")[0]["outbox"]] == ["bob"]


def test_messages_that_the_device_is_past(paired, run, home):
    """A newer puzzle was imported from a file first: the older ones are told by the device's own table."""
    one, _ = paired
    with ModelBoard("three") as three, ModelBoard("four") as four:
        for board, name in ((three, "carol"), (four, "dave")):
            board.hold_button()
            run("enroll", board.port, "--name", name)
    run("revoke", "alice", "bob")
    run("pair", "alice", "carol")
    run("pair", "alice", "dave", "-o", home)
    run("import", one.port, home / "alice-000003.puzzle")
    rows = run("import", one.port, code=1)[0]["imported"]
    assert [(row["kind"], row["outcome"], row["code"]) for row in rows] == [
        ("revocation", "outdated", "OLD_PUZZLE"),
        ("puzzle", "outdated", "OLD_PUZZLE"),
        ("puzzle", "known already", "OLD_PUZZLE"),
    ]
    assert "alice" not in {row["recipient"] for row in run("registry", "outbox")[0]["outbox"]}


def test_files_in_any_order(devices, run, home):
    one, two = devices
    with ModelBoard("three") as three:
        three.hold_button()
        for board, name in ((one, "alice"), (two, "bob"), (three, "carol")):
            run("enroll", board.port, "--name", name)
    run("pair", "alice", "bob", "-o", home)
    run("pair", "alice", "carol", "-o", home)
    files = home / "alice-000001.puzzle", home / "alice-000000.puzzle"
    imported, _ = run("import", one.port, *files)
    assert [row["outcome"] for row in imported["imported"]] == ["delivered"] * 2
    again, _ = run("import", one.port, *files, code=1)
    assert [row["code"] for row in again["imported"]] == ["OLD_PUZZLE"] * 2
    foreign, _ = run("import", one.port, home / "bob-000000.puzzle", code=1)
    assert foreign["error"]["code"] in ("OLD_PUZZLE", "BAD_PUZZLE")
    (home / "torn").write_text("ringpair 4100")
    torn, _ = run("import", one.port, home / "torn", code=2)
    assert f"a puzzle has {LENGTHS[PUZZLE]} bytes, got 2" in torn["error"]["message"]


# ------------------------------------------------------------------------------ enrollment that goes wrong


def test_enrollment_refused(devices, run):
    one, two = devices
    one.model.button = False
    refused, _ = run("enroll", one.port, "--name", "alice", code=1)
    assert refused["error"]["code"] == "NEED_BUTTON"
    assert run("registry", "list")[0]["devices"] == []
    one.hold_button()
    assert "no name" in run("enroll", one.port, "--name", "no name", code=4)[0]["error"]["message"]
    run("enroll", one.port, "--name", "alice")
    assert run("enroll", one.port, "--name", "bob", code=1)[0]["error"]["code"] == "ALREADY_ENROLLED"
    first, again = (run("registry", "list")[0]["devices"][0], run("enroll", one.port, "--name", "alice")[0])
    assert again["id"] == first["id"], "the same command again: it is so already"
    two.hold_button()
    assert run("enroll", two.port, "--name", "alice", code=4)[0]["error"]["kind"] == "RegistryError"


def test_wrong_passphrase_before_the_device_is_touched(devices, run, monkeypatch):
    one, _ = devices
    monkeypatch.setenv("RINGPAIR_PASSPHRASE", "battery staple")
    wrong, _ = run("enroll", one.port, "--name", "alice", code=4)
    assert wrong["error"]["kind"] == "WrongPassphrase"
    assert one.model._enrollment is None


def test_import_confirms_an_enrollment_whose_reply_got_lost(devices, run):
    one, two = devices
    one.damage_out = lambda raw: raw if raw[1] != 0x84 else cut(one)
    run("enroll", one.port, "--name", "alice", code=3)
    run("enroll", two.port, "--name", "bob")
    assert run("registry", "show", "alice")[0]["state"] == "pending"
    assert "never confirmed" in run("pair", "alice", "bob", code=4)[0]["error"]["message"]
    with ModelBoard("one", flash=one.flash) as again:
        assert "nothing for alice" in run("import", again.port, code=4)[0]["error"]["message"]
        assert run("registry", "show", "alice")[0]["state"] == "active"
        run("pair", "alice", "bob")
        run("import", again.port)


def test_pair_again_with_a_registry_that_forgot_the_pairing(devices, run, home):
    """A backup from before the pairing, moved on: both boards say that they are paired, and they are."""
    one, two = devices
    for board, name in ((one, "alice"), (two, "bob")):
        run("enroll", board.port, "--name", name)
    old = home / "old.sqlite"
    old.write_bytes((home / "registry.sqlite").read_bytes())
    for registry in (home / "registry.sqlite", old):
        if registry == old:
            for name in ("alice", "bob"):
                run("registry", "advance", name, "--steps", "1", "--registry", old)
        run("pair", "alice", "bob", "--registry", registry)
        said = [run("import", board.port, "--registry", registry)[0]["imported"][0] for board in devices]
    assert [(row["outcome"], row["code"]) for row in said] == [("known already", "ALREADY_PAIRED")] * 2
    assert run("registry", "outbox", "--registry", old)[0]["outbox"] == []
    run("connect", one.port, "bob")


def test_unplugged_between_the_halves_of_an_enrollment(devices, run):
    """The device may have committed: the row stays pending, the message says how to go on, and going on works."""
    one, _ = devices
    one.damage_out = lambda raw: raw if raw[1] != 0x84 else cut(one)
    failed, _ = run("enroll", one.port, "--name", "alice", code=3)
    assert "run the same command again" in failed["error"]["message"]
    assert run("registry", "show", "alice")[0]["state"] == "pending"
    pending = run("registry", "show", "alice")[0]
    with ModelBoard("one", flash=one.flash) as again, ModelBoard("three") as other:
        assert run("info", again.port)[0]["state"] == "enrolled"
        assert "is taken" in run("enroll", other.port, "--name", "alice", code=4)[0]["error"]["message"]
        assert run("enroll", again.port, "--name", "alice")[0]["id"] == pending["id"]
        assert run("enroll", again.port, "--name", "bob", code=1)[0]["error"]["code"] == "ALREADY_ENROLLED"
    assert run("registry", "show", "alice")[0]["state"] == "active"


def cut(board):
    threading.Thread(target=board.unplug).start()
    time.sleep(0.1)
    return b""


# ------------------------------------------------------------------------------ registry


def test_registry_verbs(paired, run, home, monkeypatch, capsys):
    shown, _ = run("registry", "show", "alice")
    assert (shown["pairings"], shown["outbox"], shown["wrap_index"]) == (["bob"], [], 1)
    run("registry", "rename", "alice", "anne")
    assert run("registry", "advance", "anne", "--steps", "3")[0]["wrap_index"] == 4
    run("registry", "export", home / "backup")
    assert "--yes" in run("registry", "remove", "anne", code=2)[0]["error"]["message"]
    run("registry", "remove", "anne", "--yes")
    assert run("registry", "import-backup", home / "backup")[0]["added"] == ["anne"]
    monkeypatch.setenv("RINGPAIR_NEW_PASSPHRASE", "new")
    run("registry", "protect")
    assert run("pair", "anne", "bob", code=4)[0]["error"]["kind"] == "WrongPassphrase"
    actions = [row["action"] for row in run("registry", "history")[0]["history"]]
    assert actions[-3:] == ["remove", "import", "protect"]
    assert run("registry", "outbox", "-o", home / "out")[0]["files"] == []
    assert main(["registry", "show", "bob"]) == 0
    assert "wrap index" in capsys.readouterr().out


# ------------------------------------------------------------------------------ errors and form


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["info", "/dev/ttyNOWHERE"], 3, "there is no port"),
        (["info", "nobody"], 2, "no virtual board 'nobody'"),
        (["info", "socket://127.0.0.1:1"], 3, "cannot connect"),
        (["info", "asleep"], 3, "start it with: ringpair sim asleep"),
        (["pair", "a", "b"], 4, "it knows nobody yet"),
        (["import", "/dev/ttyNOWHERE", "nothing.puzzle"], 2, "cannot read nothing.puzzle"),
        (["sim", "x", "--silicon", "nonsense"], 2, "FILE.npz:CHIP"),
        (["sim", "x", "--silicon", "nothing.npz:0"], 2, "cannot read nothing.npz"),
        (["sim", "x", "--temperature", "1000"], 2, "temperature must be -40 to 125"),
        (["sim", "x", "--peer", "x"], 2, "expected another board as --peer"),
        (["sim", "x", "--peer", "b c"], 2, "expected a board name"),
        (["button", "asleep"], 3, "start it with: ringpair sim asleep"),
        (["button", "../x"], 2, "expected a board name"),
        (["bridge", "udp://127.0.0.1:9?x=1", "/dev/null"], 2, "expected udp://host:port"),
        (["bridge", "x", "x"], 2, "expected two ends"),
        (["bridge", "udp://127.0.0.1:9", "x", "--connect", "bob"], 2, "expected a board as A"),
        (["send", "/dev/null", ""], 2, "expected a text of at least one byte"),
        (["info", "loop://"], 3, "without its identity"),
        (["info", "foo://x"], 3, "expected a serial port"),
        (["registry", "export", "/nowhere/backup"], 4, "choose another file"),
        (["registry", "import-backup", "nothing"], 4, "there is no backup nothing"),
        (["registry", "list", "--registry", "/dev/null/x"], 4, "not a folder"),
        (["demo", "--keep", "/dev/null/x"], 2, "choose another for --keep"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(run, home, arguments, code, words, monkeypatch):
    monkeypatch.setattr("ringpair.line.SYNC_TRIES", 1)
    (home / "boards" / "asleep").mkdir(parents=True)
    result, err = run(*arguments, code=code)
    assert words in result["error"]["message"]
    assert words in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_wrong_usage_exits_with_2(capsys):
    for arguments in ([], ["juggle"], ["enroll", "port"], ["registry"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    for option, value, words in (
        ("--baud", "0", "expected a whole number from 1, got '0'"),
        ("--count", "-1", "expected a whole number from 1, got '-1'"),
        ("--seconds", "nan", "expected a number of seconds above 0, got 'nan'"),
        ("--seconds", "soon", "expected a number of seconds above 0, got 'soon'"),
    ):
        with pytest.raises(SystemExit):
            main(["listen", "port", option, value])
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sim", "x", "--tcp", "65536"])
    assert "expected a TCP port from 1 to 65535, or 0 for any, got '65536'" in capsys.readouterr().err


def test_silicon_that_cannot_be_is_not_remembered(run, home):
    run("sim", "x", "--silicon", "nothing.npz:0", code=2)
    run("sim", "x", "--age", "-1", code=2)
    assert not (home / "boards" / "x").exists()


def test_trouble_of_the_system_is_one_line(run, monkeypatch):
    def full(path, message):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("ringpair.cli.info.names_of", lambda arguments: full("/somewhere", b""))
    failed, err = run("info", "/dev/null", code=1)
    assert failed["error"]["message"].startswith("/somewhere: No space left on device; check")
    assert len(err.splitlines()) == 1


def test_a_registry_named_before_or_after_the_action(run, home):
    before, _ = run("registry", "--registry", home / "other", "list")
    after, _ = run("registry", "list", "--registry", home / "other")
    assert before["registry"] == after["registry"] == str(home / "other")


def test_port_in_use(devices, run):
    from ringpair.board import Board

    one, _ = devices
    with Board.open(one.port):
        busy, _ = run("info", one.port, code=3)
    assert busy["error"]["kind"] == "PortBusy"
    assert f"process {os.getpid()}" in busy["error"]["message"]


def test_help_is_quick_and_needs_no_heavy_package():
    code = (
        "import sys\nfrom ringpair.cli import build_parser\nbuild_parser().format_help()\n"
        "heavy = {'numpy', 'amaranth', 'sqlalchemy', 'alembic', 'cryptography', 'serial', 'rich', 'keyring'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_host_commands_need_no_gateware_package(devices, home):
    """A host-only installation has neither Amaranth nor numpy: with them hidden, the boards still answer."""
    one, _ = devices
    code = (
        "import sys\nfor name in ('numpy', 'amaranth', 'scipy', 'ziglang'): sys.modules[name] = None\n"
        "from ringpair.cli import main\n"
        "port = sys.argv[1]\n"
        "codes = [main(['info', port]), main(['enroll', port, '--name', 'alice']), main(['peers', port]),"
        " main(['registry', 'list'])]\n"
        "assert codes == [0] * 4, codes\nsys.exit(main(['sim', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code, one.port], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "pip install 'ringpair[virtual]'" in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_interrupt(devices):
    one, _ = devices
    command = [sys.executable, "-m", "ringpair.cli", "listen", one.port]
    listener = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    listener.stderr.readline()
    listener.send_signal(2)
    _, err = listener.communicate(timeout=60)
    assert listener.returncode == 130
    assert err == "interrupted\n"


def test_logs_of_an_enrollment_hold_no_key(devices, run, caplog, home):
    one, _ = devices
    caplog.set_level("DEBUG")
    run("enroll", one.port, "--name", "alice")
    with Registry(home / "registry.sqlite", Secrecy(PASSPHRASE)) as registry:
        entry = registry.entry(registry.find("alice"))
    assert "ENROLL" in caplog.text
    for form in (entry.wrap_key.hex(), repr(entry.wrap_key)[2:-1], PASSPHRASE):
        assert form not in caplog.text


def test_a_peer_cannot_control_the_terminal():
    assert printable(b"\x1b]0;owned\x07 plain \xff\n") == "\\x1b]0;owned\\x07 plain \\xff\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("options", [["--json"], []])
def test_no_room_for_the_result(options):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "ringpair.cli", "registry", "list", *options]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("ringpair: No space left on device; check")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "peer", "text"),
    [
        (Code.SUPERSEDED, 3, "no session with peer 3"),
        (Code.NO_SUCH_PEER, NOBODY, "no peer to begin with"),
        (Code.FLASH_FAILED, NOBODY, "the reset by the button failed"),
    ],
)
def test_what_failed_is_said(code, peer, text):
    data, said = event_data(SessionFailed(code, peer))
    assert said == f"[{text}: {code.name}]"
    assert data == {"event": "failed", "peer": peer, "code": code.name}
