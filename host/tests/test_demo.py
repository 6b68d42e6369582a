"""The demonstration keeps what it promises, says so when it does not, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ringpair.cli import main
from ringpair.demo import ANSWER, HELLO, Demo, Findings
from ringpair.demo_binding import LockFindings
from ringpair.stage import DemoFailed, Wire, readable, stored_for_peers
from ringpair.virtual import Design, build
from ringpair_protocol import frames
from ringpair_protocol.messages import DATA, DATA_OVERHEAD
from ringpair_protocol.records import MAX_PEERS, PEER_BASE, STORE_END, STORED_PER_PEER, peer_journal, slot_offset

LOCK = {
    "binding_bytes": 340,
    "opening_bytes": 228,
    "bound_by_pin": True,
    "switched": True,
    "eavesdropper_saw_command": False,
    "pin_used_once": True,
    "tries_until_locked": 5,
    "session_while_locked": True,
    "unlocked_by_button": True,
    "unbound": True,
    "refused_after_reset": True,
}
KEYS = {
    "handshake_bytes": 83,
    "stored_bytes_per_peer": 148,
    "session_ids_equal": True,
    "text_delivered": True,
    "eavesdropper_saw_text": False,
    "reconnected_after_power_cycle": True,
    "clone_refused": True,
    "clone_tries": 4096,
    "replay_ignored": True,
    "recovered_after_cut": True,
    "lock": LOCK,
    "failure": None,
    "held": True,
    "broken": [],
}


def start(folder, *arguments):
    """``ringpair demo`` as a process; temporary files go to ``folder``."""
    command = [sys.executable, "-m", "ringpair.cli", "demo", *arguments]
    environment = os.environ | {"TMPDIR": str(folder)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def left_behind(folder):
    """Temporary folders and processes of a demonstration that are still there."""
    folders = [path.name for path in folder.glob("ringpair-demo-*")]
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    return folders + [command for command in commands if f"{folder}/ringpair-demo-".encode() in command]


@pytest.fixture(scope="module")
def library():
    return build(Design())


# ------------------------------------------------------------------------------ the whole of it


def test_everything_holds(tmp_path, library):
    process = start(tmp_path, "--json")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    (line,) = out.splitlines()
    found = json.loads(line)
    binding, opening = found["lock"].pop("binding_cycles"), found["lock"].pop("opening_cycles")
    assert {key: found[key] for key in KEYS} == KEYS
    assert 2_000_000 < binding <= 3_400_000
    assert 2_000_000 < opening <= 3_200_000
    cycles = found["device_cycles"]
    assert sorted(cycles) == ["handshake_initiator", "handshake_responder", "puf_key"]
    assert 25_000 < cycles["puf_key"] <= 36_000
    assert all(1000 < cycles[f"handshake_{role}"] <= 6000 for role in ("initiator", "responder"))
    assert 1 <= found["search_tries"] <= 4096
    assert found["seconds"] > 2  # alice alone waits so long for bob, whose power was cut
    steps = [line.split()[0] for line in err.splitlines() if line[:2].strip().isdigit()]
    assert sorted(set(steps), key=int) == [str(number) for number in range(1, 12)]
    assert left_behind(tmp_path) == []


def test_interrupted(tmp_path, library):
    process = start(tmp_path)
    assert process.stdout.readline().startswith(" 1  alice runs")
    assert left_behind(tmp_path) != []
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert left_behind(tmp_path) == []


def test_a_failure_is_told(monkeypatch, capsys, tmp_path, library):
    def fail(self):
        raise DemoFailed("the lamp is broken")

    monkeypatch.setattr(Demo, "start", fail)
    assert main(["demo", "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["held"], found["failure"]) == (False, "fail: the lamp is broken")
    assert err.splitlines()[-1] == "ringpair: the demonstration failed: fail: the lamp is broken"
    (tmp_path / "something").touch()
    assert main(["demo", "--keep", str(tmp_path)]) == 2
    assert "expected an empty folder" in capsys.readouterr().err


# ------------------------------------------------------------------------------ each promise can be broken


def test_one_broken_promise_is_enough():
    kept = {key: value for key, value in KEYS.items() if key in Findings.__dataclass_fields__}
    findings = Findings(**kept | {"lock": LockFindings(**LOCK)})
    assert findings.held
    broken = {"handshake_bytes": 84, "stored_bytes_per_peer": 147, "eavesdropper_saw_text": True}
    broken |= {name: False for name, value in KEYS.items() if value is True and name != "held"}
    for name, value in broken.items():
        changed = replace(findings, **{name: value})
        assert (changed.held, changed.broken) == (False, [name])
    for name, value in LOCK.items():
        lock = replace(findings.lock, **{name: value - 1 if type(value) is int else not value})
        assert replace(findings, lock=lock).broken == [f"lock.{name}"]
    assert not replace(findings, failure="x").held
    assert not Findings().held


def record(file, *messages):
    """A recording of the wire with these messages of alice."""
    lines = [json.dumps({"direction": "out", "byte": byte}) for data in messages for byte in frames.encode(data)]
    file.write_text("\n".join(lines) + "\n")


def test_an_eavesdropper_would_see_plain_text(tmp_path):
    record(tmp_path / "tap", b"\x18" + bytes(4) + HELLO.encode() + bytes(16))
    ((direction, message),) = Wire(tmp_path / "tap").messages()
    assert direction == "out"
    assert readable(HELLO, message)
    assert readable(HELLO, b"..." + HELLO[5:11].encode())
    assert not readable(HELLO, b"..." + HELLO[5:10].encode())
    assert not readable(HELLO, bytes(range(256)))


def test_stored_bytes_are_counted_in_the_flash():
    image = bytearray(b"\xff" * (STORE_END + 4096))
    assert stored_for_peers(bytes(image)) == 0
    image[PEER_BASE : PEER_BASE + slot_offset(2)] = bytes(slot_offset(2))
    assert stored_for_peers(bytes(image)) == STORED_PER_PEER
    last = peer_journal(MAX_PEERS - 1) + slot_offset(47)
    image[last] = 0x7F
    assert stored_for_peers(bytes(image)) == STORED_PER_PEER + 68
    image[PEER_BASE + 240] = 0
    with pytest.raises(DemoFailed, match="beside headers and slots"):
        stored_for_peers(bytes(image))


@pytest.fixture(scope="module")
def stage(tmp_path_factory, library):
    """The demonstration after its power cycle."""
    told = []
    with Demo(tmp_path_factory.mktemp("stage"), library, library, lambda number, text: told.append(text)) as demo:
        for step in demo.steps[:7]:
            step()
        demo.told = told
        yield demo


def test_boards_that_were_not_unplugged(stage, monkeypatch):
    monkeypatch.setattr("ringpair.demo.together", lambda action, sides: None)
    monkeypatch.setattr("ringpair.stage.Side.off", lambda side: None)
    with pytest.raises(DemoFailed, match="should have been unplugged"):
        stage.power_cycle()


def test_a_clone_with_the_same_silicon_is_no_clone(stage):
    stage.clone(seed=1)
    assert not stage.findings.clone_refused
    assert "OK after 1 tries" in stage.told[-1]


def test_a_message_that_is_new_is_no_replay(stage):
    """Bob's wire is out while alice speaks: what the eavesdropper recorded then is news to bob."""
    stage.bob.control.request("wire", connected=False)
    stage.alice.board.send(HELLO)
    stage.alice.settle()
    stage.bob.control.request("wire", connected=True)
    stage.replay()
    assert not stage.findings.replay_ignored
    assert "Text(" in stage.told[-1]
    stage.replay()  # and now it is none
    assert stage.findings.replay_ignored


def test_plain_text_on_the_wire_is_noticed(stage, monkeypatch):
    seen = Wire.messages
    plain = bytes([DATA]) + bytes(DATA_OVERHEAD - 1) + ANSWER.encode()
    monkeypatch.setattr(Wire, "messages", lambda wire: [("out", plain), *seen(wire)])
    stage.findings.eavesdropper_saw_text = False
    stage.talk()
    assert stage.findings.eavesdropper_saw_text


def test_a_cut_that_does_not_come(stage, monkeypatch):
    request = type(stage.bob.control).request
    monkeypatch.setattr(type(stage.bob.control), "request", lambda *a, **kw: {} if a[1] == "cut" else request(*a, **kw))
    monkeypatch.setattr("ringpair.demo.WAIT_S", 2.0)
    with pytest.raises(TimeoutError):
        stage.cut()
